"""Tokens: Ed25519 JWTs that name an app, its key, its scopes and the version of the secret that they were issued for."""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import jwt

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.keyfiles import TokenKeys, load_token_keys
from clarion_kit.rpc.caller import Caller

log = logging.getLogger(__name__)

AUDIENCE = "clarion"
ISSUER = "clarion-gateway"
SKEW = timedelta(seconds=30)
"""How far ahead the clock of the gateway that issued a token may be. A token's end is judged without it."""
_VERIFIED_CACHE = 4_096
_MAX_TOKEN = 8_192
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
"""Parts without padding, and a signature of 64 bytes in its one form (RFC 7515 section 2, RFC 4648 section 3.5): one token, one
text."""
_REQUIRED = ["exp", "iat", "aud", "iss", "sub", "app", "scope"]


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token and when it ends."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good token says."""

    caller: Caller
    secret_version: int
    expires: float


def unauthenticated() -> DomainError:
    """One text for every cause: strangers learn nothing."""
    return DomainError(ErrorReason.UNAUTHENTICATED, "not authenticated")


class TokenIssuer:
    """Signs tokens and verifies them; a verified token is remembered until it ends."""

    def __init__(self, keys: TokenKeys, lifetime: timedelta) -> None:
        self._keys = keys
        self._lifetime = lifetime
        self._verified: OrderedDict[str, Verified] = OrderedDict()

    def use(self, keys: TokenKeys) -> None:
        """Sign and verify with other keys from now on."""
        self._keys = keys
        self._verified.clear()

    def issue(self, app_id: int, app_key: str, scopes: frozenset[str], secret_version: int = 1) -> Token:
        now = datetime.now(UTC)
        expires_at = now + self._lifetime
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": app_key,
            "app": app_id,
            "ver": secret_version,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "nbf": now,
            "exp": expires_at,
            "jti": uuid4().hex,
        }
        text = jwt.encode(claims, self._keys.private, algorithm="EdDSA", headers={"kid": self._keys.active})
        return Token(text, expires_at.replace(microsecond=0))

    def verify(self, text: str) -> Verified:
        """Raises DomainError UNAUTHENTICATED."""
        known = self._verified.get(text)
        if known is None:
            known = self._verified[text] = self._decode(text)
            if len(self._verified) > _VERIFIED_CACHE:
                self._verified.popitem(last=False)
        if known.expires <= time.time():
            del self._verified[text]
            raise unauthenticated()
        return known

    def _decode(self, text: str) -> Verified:
        if len(text) > _MAX_TOKEN or not _FORM.fullmatch(text):
            raise unauthenticated()
        try:
            key = self._keys.public[jwt.get_unverified_header(text).get("kid", "")]
            claims = jwt.decode(
                text,
                key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=SKEW,
                options={"require": _REQUIRED},
            )
            scopes = frozenset(str(claims["scope"]).split())
            caller = Caller("client", int(claims["app"]), str(claims["sub"]), scopes)
            # Gateways of before secrets had versions leave it out.
            return Verified(caller, int(claims.get("ver", 1)), float(claims["exp"]))
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise unauthenticated() from None


Tell = Callable[[TokenKeys | None, TokenKeys], Awaitable[None]]
"""Given the keys used before (None at the start) and those used now."""


class TokenKeyFile:
    """The file of token keys, looked at every few seconds: another content is used from then on, and `tell` is told."""

    def __init__(self, path: Path, issuer: TokenIssuer, tell: Tell) -> None:
        self._path = path
        self._issuer = issuer
        self._tell = tell
        self._seen: bytes | None = None
        self._used: TokenKeys | None = None
        self._told: TokenKeys | None = None

    async def look(self) -> None:
        """A file that cannot be used changes nothing and is logged once. Raises what `tell` raises, and tells again at the next
        look; the keys are in use by then."""
        await self._read()
        if self._used is not None and self._used is not self._told:
            await self._tell(self._told, self._used)
            self._told = self._used

    async def _read(self) -> None:
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except OSError as fault:
            content, unreadable = type(fault).__name__.encode(), True
        else:
            unreadable = False
        if content == self._seen:
            return
        first, self._seen = self._seen is None, content
        try:
            if unreadable:
                raise ValueError(content.decode())
            keys = load_token_keys(self._path)
        except ValueError as fault:
            log.error("the token keys stay as they were: %s", fault)
            return
        self._issuer.use(keys)
        self._used = keys
        if not first:
            log.info("token keys changed: %s signs, %s verify", keys.active, ", ".join(sorted(keys.public)))
