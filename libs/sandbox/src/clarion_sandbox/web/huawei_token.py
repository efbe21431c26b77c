"""Huawei's OAuth 2.0 server: client credentials for an access token.

Source: HUAWEI Account Kit, "OAuth 2.0-based authentication", client credentials mode.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qs

from clarion_sandbox.answers import AnswerTable, Row
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

from .http import Outcome, Reply, Request, json_reply, silence

NAME = "huawei_token"
_MAX_TOKENS = 10_000


class TokenState(Enum):
    """What an access token is worth."""

    VALID = "valid"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Client:
    """Who may have tokens."""

    client_id: str
    client_secret: str = field(repr=False)


class ClientTokens:
    """Access tokens given out; a restart forgets them, as clients must cope with."""

    def __init__(self, lifetime_seconds: int, clock: Callable[[], float] = time.time) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._expiry: dict[str, float] = {}

    def issue(self) -> str:
        """A new token; those given out before stay valid."""
        if len(self._expiry) >= _MAX_TOKENS:
            self._expiry.clear()
        token = secrets.token_urlsafe(60)
        self._expiry[token] = self._clock() + self.lifetime_seconds
        return token

    def state(self, token: str) -> TokenState:
        """What ``token`` is worth now."""
        expiry = self._expiry.get(token)
        if expiry is None:
            return TokenState.UNKNOWN
        return TokenState.VALID if self._clock() < expiry else TokenState.EXPIRED


class HuaweiTokenServer:
    """The handler of ``POST /oauth2/v3/token``."""

    def __init__(self, client: Client, tokens: ClientTokens, table: AnswerTable, fates: Fates, ledger: Ledger) -> None:
        self._client = client
        self._tokens = tokens
        self._table = table
        self._fates = fates
        self._ledger = ledger

    async def __call__(self, request: Request) -> Outcome:
        """Answer one token request; only refusals enter the ledger, tokens are no messages."""
        client_id = self._client.client_id
        fate = self._check(request) or self._fates.decide(NAME, client_id)
        latency = self._fates.latency(NAME, client_id)
        if latency:
            await asyncio.sleep(latency)
        if isinstance(fate, Row):
            self._ledger.refuse(NAME, answer=fate.label, destination=client_id)
            return _refusal(fate)
        if fate is not None:
            return silence(fate)
        return json_reply(
            200,
            {
                "access_token": self._tokens.issue(),
                "expires_in": self._tokens.lifetime_seconds,
                "token_type": "Bearer",
            },
        )

    def _check(self, request: Request) -> Row | None:
        media_type = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
        if request.method != "POST" or media_type != "application/x-www-form-urlencoded":
            return self._table.row("4002")
        try:
            form = parse_qs(request.body.decode("latin-1"), max_num_fields=10)
        except ValueError:
            return self._table.row("4002")
        if form.get("grant_type") != ["client_credentials"]:
            return self._table.row("4001")
        given = (form.get("client_id", [""])[0], form.get("client_secret", [""])[0])
        known = (self._client.client_id, self._client.client_secret)
        if not all(hmac.compare_digest(one.encode(), other.encode()) for one, other in zip(given, known, strict=True)):
            return self._table.row("4000")
        return None


def _refusal(row: Row) -> Reply:
    body = {
        "error": int(row.reason),
        "sub_error": row.number("sub_error"),
        "error_description": row.text("message") or "",
    }
    return json_reply(row.status, body)
