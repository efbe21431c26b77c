"""Which push endpoints may be called: they come from browsers, so anybody may write anything there."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

KNOWN_SERVICES = (
    "fcm.googleapis.com",
    "*.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
"""Chrome and its kin, Firefox, Safari, Edge."""
MAX_ENDPOINT_LENGTH = 2048

_HTTPS_PORT = 443


class ForbiddenEndpoint(Exception):
    """The endpoint may not be called; the text says why, without the URL."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an endpoint leads."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"https://{self.host}" if self.port == _HTTPS_PORT else f"https://{self.host}:{self.port}"


class AllowedHosts:
    """An allow-list: `host`, `host:port` or `*.domain` (any name below it); without a port only 443."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._exact: set[tuple[str, int]] = set()
        self._suffixes: set[tuple[str, int]] = set()
        for entry in entries:
            host, _, port = entry.lower().partition(":")
            place = (host.removeprefix("*"), int(port or _HTTPS_PORT))
            (self._suffixes if host.startswith("*.") else self._exact).add(place)

    def origin_of(self, endpoint: str) -> Origin:
        """The origin of an endpoint that may be called; raises `ForbiddenEndpoint`."""
        if (
            len(endpoint) > MAX_ENDPOINT_LENGTH
            or not endpoint.isascii()
            or not endpoint.isprintable()
            or " " in endpoint
        ):
            raise ForbiddenEndpoint("not a URL of at most 2,048 printable ASCII characters")
        try:
            parts = urlsplit(endpoint)
            port = parts.port or _HTTPS_PORT
        except ValueError as error:
            raise ForbiddenEndpoint("not a URL") from error
        if parts.scheme != "https":
            raise ForbiddenEndpoint("not https")
        # URL parsers disagree about backslashes, user parts and escapes in a host; a push endpoint has none of them.
        if "\\" in endpoint or "@" in parts.netloc or "%" in parts.netloc or parts.fragment or not parts.hostname:
            raise ForbiddenEndpoint("a URL of an unusual form")
        host = parts.hostname.lower()
        if (host, port) not in self._exact and not self._is_below_a_domain(host, port):
            raise ForbiddenEndpoint("not a host of the allow-list")
        return Origin(host, port)

    def _is_below_a_domain(self, host: str, port: int) -> bool:
        labels = host.split(".")
        return all(labels) and any((f".{'.'.join(labels[n:])}", port) in self._suffixes for n in range(1, len(labels)))
