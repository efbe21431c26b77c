"""Which hosts may be called where anybody may write the URL: push endpoints, webhooks. One guard, at save and at dial.

A name is judged by every address it leads to, at the moment of the call, and the call goes to the address that was judged:
so a name that is rebound in between leads nowhere.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

MAX_URL_LENGTH = 2048
_PORTS = {"https": 443, "http": 80}
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA hands out; what was once outside of it (site-local, IPv4-compatible) leads inwards where it leads at all."""
_NOBODYS = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"), IPv4Network("168.63.129.16/32"))
"""Beyond what Python calls private: IETF assignments whole (Oracle's metadata is among them), relays of 6to4 (RFC 7526), and
where each virtual machine of Azure reaches its own host."""
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "private", "lan", "home", "corp", "arpa")
"""Top-level names that no public host has (RFC 6761, RFC 6762, RFC 8375, ICANN's reserved ones)."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host and port. Raises OSError."""


class ForbiddenUrl(Exception):
    """The URL may not be called; the text says why, without the URL."""


class Unresolved(Exception):
    """The host's name leads to no address, or not in time."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads."""

    host: str
    port: int
    tls: bool


def is_public(address: str) -> bool:
    """Whether an IP address belongs to one host that the whole internet can reach."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = _inner_ipv4(ip)
        if inner is None:
            # Tunnels of old (6to4, Teredo) end at whichever relay is near.
            return ip in _GLOBAL_UNICAST and ip.is_global and ip.sixtofour is None and ip.teredo is None
        ip = inner
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOBODYS)


def target_of(url: str, *, private: bool = False) -> Target:
    """Where an https URL of a public host leads; `private` (practice only) lets http and any host through.

    Addresses count in their usual notation alone: what resolvers take for one as well (`0x7f.1`, `2130706433`, `127.1`) is
    no host name. Raises ForbiddenUrl.
    """
    if not 0 < len(url) <= MAX_URL_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise ForbiddenUrl("not a URL of at most 2,048 printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenUrl("not a URL") from None
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise ForbiddenUrl("not https")
    # URL parsers disagree about backslashes and user parts, and a pinned address holds for a name without a final dot alone.
    if parts.netloc.endswith(".") or ".:" in parts.netloc or not parts.hostname or port == 0:
        raise ForbiddenUrl("a URL of an unusual form")
    if "\\" in url or "@" in parts.netloc or "%" in parts.netloc or parts.fragment:
        raise ForbiddenUrl("a URL of an unusual form")
    host = parts.hostname.lower()
    if not private:
        _check_host(host)
    return Target(host, port or _PORTS[parts.scheme], parts.scheme == "https")


async def public_address(
    target: Target, *, timeout: timedelta, private: bool = False, resolve: Resolve | None = None
) -> str:
    """An address to connect to; every address of the host was checked. Raises ForbiddenUrl, Unresolved."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            addresses = await (resolve or _system)(target.host, target.port)
    except (OSError, TimeoutError, UnicodeError):
        raise Unresolved("the host's name cannot be resolved") from None
    if not addresses:
        raise Unresolved("the host's name leads nowhere")
    if not private and not all(is_public(address) for address in addresses):
        raise ForbiddenUrl("the host leads to an address that is not public")
    return addresses[0]


def _check_host(host: str) -> None:
    try:
        public = is_public(host)
    except ValueError:
        labels = host.split(".")
        named = len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
        # A last label that begins with a digit is one of an address in disguise (WHATWG URL, "ends in a number").
        if not named or len(labels) < 2 or labels[-1][0].isdigit() or labels[-1] in _LOCAL_NAMES:
            raise ForbiddenUrl("not a public host") from None
        return
    if not public:
        raise ForbiddenUrl("not a public address")


def _inner_ipv4(ip: IPv6Address) -> IPv4Address | None:
    # Where an IPv6 address only wraps an IPv4 one, the packets end at the inner one.
    return IPv4Address(ip.packed[-4:]) if ip in _NAT64 else ip.ipv4_mapped


async def _system(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
