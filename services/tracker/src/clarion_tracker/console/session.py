"""The session cookie of the console: a token of the gateway, sealed.

The tracker keeps no sessions, so any replica serves any request, and holds neither tokens' keys nor secrets of apps: whether a
token still counts is asked of the gateway. Sealed, because the token itself would open the whole API to whoever finds the
cookie; what is in the cookie opens nothing but this page.
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

COOKIE = "clarion_console"
PATH = "/console"
MAX_COOKIE = 3_000
"""Browsers keep 4,096 bytes of a cookie with its attributes."""
_INFO = b"clarion console session"
_PLACE = b"clarion console cookie 1"
_NONCE = 12
_STAMP = 8


@dataclass(frozen=True, slots=True)
class Session:
    """Who is logged in: the gateway's token, until it ends."""

    token: str = field(repr=False)
    expire_at: datetime


class Sessions:
    """Makes and reads cookies. `key`: the link key; what is sealed here is under a key of its own derived from it."""

    def __init__(self, key: bytes, *, secure: bool) -> None:
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=None, info=_INFO).derive(key))
        self._secure = secure

    def cookie(self, session: Session, now: datetime) -> str:
        """The `Set-Cookie` header that starts a session. Raises ValueError for a token that no cookie holds."""
        plain = int(session.expire_at.timestamp()).to_bytes(_STAMP) + session.token.encode()
        nonce = os.urandom(_NONCE)
        value = base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, _PLACE)).decode()
        if len(value) > MAX_COOKIE:
            raise ValueError("the token does not fit a cookie")
        return self._header(value, max(0, int((session.expire_at - now).total_seconds())))

    def end(self) -> str:
        """The `Set-Cookie` header that makes a browser forget."""
        return self._header("", 0)

    def read(self, header: str, now: datetime) -> Session | None:
        """The session of a `Cookie` header, None where there is none of ours that still runs."""
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE and len(value) <= MAX_COOKIE:
                session = self._open(value)
                return session if session is not None and session.expire_at > now else None
        return None

    def _open(self, value: str) -> Session | None:
        try:
            sealed = base64.b64decode(value.encode("ascii"), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _PLACE)
        except (InvalidTag, binascii.Error, ValueError):
            return None
        return Session(plain[_STAMP:].decode(), datetime.fromtimestamp(int.from_bytes(plain[:_STAMP]), UTC))

    def _header(self, value: str, seconds: int) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{COOKIE}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
