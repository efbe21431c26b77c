"""An OAuth access token that is always at hand: fetched by one caller for all, and again before it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.excerpt import excerpt
from clarion_channels.http import Attempt, HttpPool, NoAnswer, NotSent
from clarion_channels.providers.huawei.settings import HuaweiSettings

REFRESH_AHEAD_SECONDS = 10 * 60
"""Tokens live an hour. One that lives shorter is renewed after half of its life."""
_STALE_SECONDS = 30
_BETWEEN_REPLACEMENTS_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_OK = 200
_REFUSALS = frozenset({400, 401, 403})


class TokenRefused(Exception):
    """The token server refuses our credentials."""


class TokenUnavailable(Exception):
    """The token server cannot be reached or is failing: try again later."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and its life from now."""

    value: str
    lifetime_seconds: float


Fetch = Callable[[], Awaitable[Token]]
"""Gets a new token; raises `TokenRefused` or `TokenUnavailable`."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    access_token: str = Field(pattern=r"^[!-~]{1,4096}$")
    expires_in: int = Field(ge=1, le=7 * 24 * 3600)


def client_credentials(settings: HuaweiSettings, http: HttpPool, timeout: timedelta) -> Fetch:
    """Fetches by Huawei's client credentials grant.

    Source: HMS Core, "OAuth 2.0-based authentication": POST of a form, 200 with `access_token` and `expires_in`.
    """
    secret = settings.client_secret.get_secret_value()
    form = {"grant_type": "client_credentials", "client_id": settings.client_id, "client_secret": secret}
    body = urlencode(form).encode()

    async def fetch() -> Token:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            answer = await http.post(settings.token_url, headers, body, timeout, Attempt())
        except (NotSent, NoAnswer) as error:
            raise TokenUnavailable(str(error)) from error
        if answer.status != _OK:
            failure = TokenRefused if answer.status in _REFUSALS else TokenUnavailable
            raise failure(f"{answer.status}: {excerpt(answer.body, secret)}")
        try:
            given = _Answer.model_validate_json(answer.body)
        except ValidationError as error:
            raise TokenUnavailable("the token server's answer holds no token") from error
        return Token(given.access_token, given.expires_in)

    return fetch


class AccessToken:
    """Hands out the `authorization` header; one fetch at a time, whoever asks.

    While the token has little time left a fetch runs beside the sending; without a usable token callers wait for it. A
    failure is remembered for 1 s, doubling up to 60 s, so that a wrong secret is not tried per message.
    """

    def __init__(self, fetch: Fetch, timeout: timedelta, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`timeout` bounds how long a caller waits for a fetch."""
        self._fetch = fetch
        self._timeout_seconds = timeout.total_seconds()
        self._monotonic = monotonic
        self._header = ""
        self._renew_at = 0.0
        self._stale_at = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._failure: TokenRefused | TokenUnavailable | None = None
        self._pause_seconds = 0.0
        self._no_fetch_before = 0.0
        self._no_replacement_before = 0.0

    async def header(self) -> str:
        """The header's value. Raises `TokenRefused` or `TokenUnavailable`."""
        now = self._monotonic()
        if now >= self._renew_at and self._fetching is None and now >= self._no_fetch_before:
            self._fetching = asyncio.get_running_loop().create_task(self._renew())
        if now >= self._stale_at:
            await self._join()
        return self._header

    async def replace(self, refused: str) -> str:
        """Another header than the one that was refused, or the same one if it was replaced less than a minute ago.

        Raises as `header` does.
        """
        now = self._monotonic()
        if self._header == refused and now >= self._no_replacement_before:
            self._no_replacement_before = now + _BETWEEN_REPLACEMENTS_SECONDS
            self._renew_at = self._stale_at = now
        return await self.header()

    async def close(self) -> None:
        """End a fetch that is running."""
        fetching = self._fetching
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait([fetching])

    async def _join(self) -> None:
        if self._fetching is not None:
            # A caller that is cancelled or runs out of time must not take the fetch with it.
            done, _ = await asyncio.wait([self._fetching], timeout=self._timeout_seconds)
            if not done:
                raise TokenUnavailable("the token server does not answer")
        if self._monotonic() >= self._stale_at:
            raise self._failure or TokenUnavailable("there is no token")

    async def _renew(self) -> None:
        try:
            token = await self._fetch()
        except (TokenRefused, TokenUnavailable) as failure:
            self._failure = failure
            self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            self._no_fetch_before = self._monotonic() + self._pause_seconds
        else:
            now = self._monotonic()
            self._header = f"Bearer {token.value}"
            self._renew_at = now + max(token.lifetime_seconds - REFRESH_AHEAD_SECONDS, token.lifetime_seconds / 2)
            self._stale_at = now + max(token.lifetime_seconds - _STALE_SECONDS, token.lifetime_seconds / 2)
            self._pause_seconds, self._failure = 0.0, None
        finally:
            self._fetching = None
