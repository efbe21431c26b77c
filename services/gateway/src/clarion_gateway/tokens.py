"""Tokens: Ed25519 JWTs that name an app, its key and its scopes."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.rpc.caller import Caller

AUDIENCE = "clarion"
ISSUER = "clarion-gateway"
_VERIFIED_CACHE = 4_096
_REQUIRED = ["exp", "iat", "aud", "iss", "sub", "app", "scope"]


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token and when it ends."""

    text: str
    expires_at: datetime


def unauthenticated() -> DomainError:
    """One text for every cause: strangers learn nothing."""
    return DomainError(ErrorReason.UNAUTHENTICATED, "not authenticated")


class TokenIssuer:
    """Signs tokens and verifies them; a verified token is remembered until it ends."""

    def __init__(self, keys: TokenKeys, lifetime: timedelta) -> None:
        self._keys = keys
        self._lifetime = lifetime
        self._verified: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    def issue(self, app_id: int, app_key: str, scopes: frozenset[str]) -> Token:
        now = datetime.now(UTC)
        expires_at = now + self._lifetime
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": app_key,
            "app": app_id,
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": expires_at,
            "jti": uuid4().hex,
        }
        text = jwt.encode(claims, self._keys.private, algorithm="EdDSA", headers={"kid": self._keys.active})
        return Token(text, expires_at.replace(microsecond=0))

    def verify(self, text: str) -> Caller:
        """The caller a token stands for. Raises DomainError UNAUTHENTICATED."""
        known = self._verified.get(text)
        if known is not None and known[0] > time.time():
            return known[1]
        expires, caller = self._decode(text)
        self._verified[text] = (expires, caller)
        if len(self._verified) > _VERIFIED_CACHE:
            self._verified.popitem(last=False)
        return caller

    def _decode(self, text: str) -> tuple[float, Caller]:
        try:
            key = self._keys.public[jwt.get_unverified_header(text).get("kid", "")]
            claims = jwt.decode(
                text, key, algorithms=["EdDSA"], audience=AUDIENCE, issuer=ISSUER, options={"require": _REQUIRED}
            )
            scopes = frozenset(str(claims["scope"]).split())
            return float(claims["exp"]), Caller("client", int(claims["app"]), str(claims["sub"]), scopes)
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise unauthenticated() from None
