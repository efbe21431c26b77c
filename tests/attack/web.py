"""Calls of the tracker's HTTP door as a stranger makes them: no redirects followed, nothing remembered."""

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from .stage import Stage

_SECONDS = 30


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Still(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Web:
    """The door of a stage's tracker."""

    def __init__(self, stage: Stage) -> None:
        self.url = stage.stack.endpoints.tracker_url
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=stage.https_context()), _Still())

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> WebAnswer:
        """Any answer. One that closes the connection before it has read the body may be lost: status 0."""
        request = urllib.request.Request(f"{self.url}{path}", body, dict(headers or {}), method=method)

        def fetch() -> WebAnswer:
            try:
                with self._opener.open(request, timeout=_SECONDS) as answer:
                    return WebAnswer(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
            except urllib.error.HTTPError as other:
                with other:
                    return WebAnswer(other.code, {k.lower(): v for k, v in other.headers.items()}, other.read())
            except (urllib.error.URLError, ConnectionError, http.client.HTTPException):
                return WebAnswer(0, {}, b"")

        return await asyncio.to_thread(fetch)
