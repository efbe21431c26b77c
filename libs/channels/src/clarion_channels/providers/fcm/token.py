"""The OAuth access token of a service account: always at hand, refreshed ahead of time."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import google.auth.transport
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.oauth2.service_account import Credentials
from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from clarion_channels.excerpt import excerpt

REFRESH_AHEAD_SECONDS = 10 * 60
"""Tokens live an hour; Google's client takes them for stale 3:45 min before the end."""
_STALE_SECONDS = 60
_BETWEEN_REPLACEMENTS_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class TokenRefused(Exception):
    """The token server refuses our credentials."""


class TokenUnavailable(Exception):
    """The token server cannot be reached or is failing: try again later."""


class _Response(google.auth.transport.Response):
    def __init__(self, status: int, data: bytes) -> None:
        self._status = status
        self._data = data

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def data(self) -> bytes:
        return self._data


class TokenTransport(google.auth.transport.Request):
    """What google-auth needs to talk to the token server, on pyreqwest; synchronous, for a thread."""

    def __init__(self, ca_file: Path | None, timeout: timedelta) -> None:
        self._timeout = timeout
        builder = SyncClientBuilder().http2(True).https_only(True).no_proxy().follow_redirects(False)
        if ca_file is not None:
            builder = builder.add_root_certificate_pem(ca_file.read_bytes())
        self._client: SyncClient = builder.user_agent("clarion").build()

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> _Response:
        limit = min(self._timeout, timedelta(seconds=timeout)) if timeout else self._timeout
        builder = self._client.request(method, url).headers(headers or {}).body_bytes(body or b"").timeout(limit)
        try:
            with builder.build_streamed() as response:
                data = bytes(response.body_reader.read(64 * 1024) or b"")
                return _Response(response.status, data)
        except PyreqwestError as error:
            raise TransportError(type(error).__name__) from error  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._client.close()


class AccessToken:
    """Hands out the `authorization` header; one refresh at a time, in a thread, whoever asks.

    While the token has less than ten minutes left a refresh runs beside the sending; without a usable token callers
    wait for it. A failure is remembered for 1 s, doubling up to 60 s, so that a broken key is not tried per message.
    """

    def __init__(
        self,
        credentials: Credentials,
        transport: TokenTransport,
        timeout: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout` bounds how long a caller waits for a refresh."""
        self._credentials = credentials
        self._transport = transport
        self._timeout_seconds = timeout.total_seconds()
        self._monotonic = monotonic
        self._header = ""
        self._expires_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._pause_seconds = 0.0
        self._no_refresh_before = 0.0
        self._no_replacement_before = 0.0

    async def header(self) -> str:
        """The header's value. Raises `TokenRefused` or `TokenUnavailable`."""
        left = self._expires_at - self._monotonic()
        if left < REFRESH_AHEAD_SECONDS and self._may_refresh():
            self._start()
        if left < _STALE_SECONDS:
            await self._join()
        return self._header

    async def replace(self, refused: str) -> str:
        """Another header than the one that was refused, or the same one if it was replaced less than a minute ago.

        Raises as `header` does.
        """
        if self._header == refused and self._monotonic() >= self._no_replacement_before:
            self._no_replacement_before = self._monotonic() + _BETWEEN_REPLACEMENTS_SECONDS
            self._expires_at = 0.0
        return await self.header()

    async def close(self) -> None:
        """Wait for a running refresh (a thread cannot be cancelled), at most the timeout."""
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing], timeout=self._timeout_seconds)
        self._transport.close()

    def _may_refresh(self) -> bool:
        return self._refreshing is None and self._monotonic() >= self._no_refresh_before

    def _start(self) -> None:
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _join(self) -> None:
        if self._refreshing is not None:
            # A caller that is cancelled or runs out of time must not take the refresh with it.
            done, _ = await asyncio.wait([self._refreshing], timeout=self._timeout_seconds)
            if not done:
                raise TokenUnavailable("the token server does not answer")
        if self._expires_at - self._monotonic() < _STALE_SECONDS:
            raise self._failure or TokenUnavailable("the token server gave a token that is about to expire")

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self._credentials.refresh, self._transport)
        except RefreshError as error:
            self._failed(TokenUnavailable(_text(error)) if error.retryable else TokenRefused(_text(error)))
        except GoogleAuthError as error:
            self._failed(TokenUnavailable(_text(error)))
        else:
            self._header = f"Bearer {self._credentials.token}"
            self._expires_at = self._monotonic() + _seconds_left(self._credentials)
            self._pause_seconds, self._failure = 0.0, None
        finally:
            self._refreshing = None

    def _failed(self, failure: Exception) -> None:
        self._failure = failure
        self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        self._no_refresh_before = self._monotonic() + self._pause_seconds


def _seconds_left(credentials: Credentials) -> float:
    # google-auth keeps a naive UTC time.
    expiry: datetime | None = credentials.expiry
    return (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if expiry else 0.0


def _text(error: GoogleAuthError) -> str:
    return excerpt(str(error.args[0]) if error.args else type(error).__name__)
