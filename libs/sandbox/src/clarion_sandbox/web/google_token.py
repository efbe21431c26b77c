"""Google's OAuth 2.0 token server: a service account's RS256 assertion for an access token (RFC 7523)."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa

from clarion_sandbox.answers import AnswerTable, Row
from clarion_sandbox.fates import Fates
from clarion_sandbox.jws import JwsError, parse, verify_rs256
from clarion_sandbox.ledger import Ledger

from .http import Outcome, Reply, Request, json_reply, silence

NAME = "google_token"
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MAX_ASSERTION_SECONDS = 3600
_CLOCK_SKEW_SECONDS = 300
_MAX_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The account whose key signs assertions."""

    client_email: str
    private_key_id: str
    public: rsa.RSAPublicKey


class AccessTokens:
    """Access tokens given out, until they expire; a restart forgets them, as clients must cope with."""

    def __init__(self, lifetime_seconds: int, clock: Callable[[], float] = time.time) -> None:
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock
        self._expiry: dict[str, float] = {}

    def issue(self) -> str:
        """A new token."""
        now = self._clock()
        if len(self._expiry) >= _MAX_TOKENS:
            self._expiry = {token: expiry for token, expiry in self._expiry.items() if expiry > now}
        if len(self._expiry) >= _MAX_TOKENS:
            self._expiry.clear()
        token = f"ya29.{secrets.token_urlsafe(48)}"
        self._expiry[token] = now + self.lifetime_seconds
        return token

    def valid(self, token: str) -> bool:
        """Whether ``token`` was given out and has not expired."""
        expiry = self._expiry.get(token)
        return expiry is not None and self._clock() < expiry


class GoogleTokenServer:
    """The handler."""

    def __init__(
        self,
        account: ServiceAccount,
        tokens: AccessTokens,
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._tokens = tokens
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._clock = clock

    async def __call__(self, request: Request) -> Outcome:
        """Answer one token request; only refusals enter the ledger, tokens are no messages."""
        row, why = self._check(request)
        fate = row or self._fates.decide(NAME, self._account.client_email)
        latency = self._fates.latency(NAME, self._account.client_email)
        if latency:
            await asyncio.sleep(latency)
        if isinstance(fate, Row):
            self._ledger.refuse(NAME, answer=fate.label, destination=self._account.client_email)
            return _refusal(fate, why)
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

    def _check(self, request: Request) -> tuple[Row | None, str | None]:
        """The row to refuse with, and a more exact description than the row's."""
        form = parse_qs(request.body.decode("latin-1"), max_num_fields=10)
        if request.method != "POST" or form.get("grant_type") != [_GRANT]:
            return self._table.row("4002"), None
        invalid = self._table.row("4000")
        try:
            jws = parse(form.get("assertion", [""])[0])
            verify_rs256(jws, self._account.public)
        except JwsError:
            return invalid, None
        if jws.text_claim("iss") != self._account.client_email:
            return invalid, "Invalid issuer: Not a valid email or user ID."
        if jws.header.get("kid", self._account.private_key_id) != self._account.private_key_id:
            return invalid, "Invalid grant: key id not found."
        if jws.text_claim("aud") != AUDIENCE:
            return invalid, "Invalid JWT: Failed audience check."
        issued, expires, now = jws.time_claim("iat"), jws.time_claim("exp"), self._clock()
        if (
            issued is None
            or expires is None
            or not 0 < expires - issued <= _MAX_ASSERTION_SECONDS
            or issued > now + _CLOCK_SKEW_SECONDS
            or expires < now - _CLOCK_SKEW_SECONDS
        ):
            return invalid, "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        if SCOPE not in (jws.text_claim("scope") or "").split():
            return self._table.row("4001"), None
        return None, None


def _refusal(row: Row, why: str | None) -> Reply:
    return json_reply(row.status, {"error": row.reason, "error_description": why or row.text("message") or ""})
