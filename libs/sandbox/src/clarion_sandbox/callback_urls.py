"""Where providers whose requests name no callback send their reports, as their consoles would be told."""

from collections.abc import Mapping


class CallbackUrls:
    """A URL by provider; changed while the sandbox runs."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = dict(urls)

    def get(self, provider: str) -> str | None:
        """The URL, None where nobody wants reports."""
        return self._urls.get(provider) or None

    def put(self, urls: Mapping[str, str]) -> None:
        """Add or replace URLs; an empty one ends the reports of its provider."""
        self._urls.update(urls)

    def all(self) -> dict[str, str]:
        """The URLs in force, by provider."""
        return {provider: url for provider, url in self._urls.items() if url}
