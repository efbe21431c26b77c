"""Encryption at rest: AES-256-GCM under per-app data keys (decisions: storage and sealing).

Layout: version (1 byte) ‖ data key id (2) ‖ UTC day (2, days since 1970) ‖ nonce (12, random) ‖ ciphertext and tag.
The key of a day is HKDF-SHA256(data key, day), so that random nonces never run out (NIST SP 800-38D: 2³² per key).
The associated data binds a value to its place: app, table, owner, column.
"""

import hashlib
import hmac
import os
import struct
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = 1
_HEADER = struct.Struct(">BHH")
_NONCE = 12
_DAY_SECONDS = 86_400
_CACHED_DAYS = 64
BLIND_KEY_ID = 0
"""The data key of blind indexes; never rotated, because an index must stay findable."""


class Unsealable(Exception):
    """The value is not what was sealed there: wrong key, wrong place, or damaged."""


def key_of(sealed: bytes) -> int | None:
    """The id of the data key that sealed a value, None for what is no sealed value."""
    if len(sealed) < _HEADER.size or sealed[0] != _VERSION:
        return None
    key_id: int = _HEADER.unpack_from(sealed)[1]
    return key_id


class AppSealer:
    """Seals and opens values of one app. `keys`: data key id → 32 bytes; `active` seals, by default the highest id."""

    def __init__(self, app_id: int, keys: Mapping[int, bytes], active: int | None = None) -> None:
        self._app_id = app_id
        self._keys = dict(keys)
        self._active = max(keys) if active is None else active
        self._ciphers: dict[tuple[int, int], AESGCM] = {}

    @property
    def active(self) -> int:
        """The id of the data key that seals."""
        return self._active

    def knows(self, key_id: int) -> bool:
        return key_id in self._keys

    def seal(self, table: str, owner: bytes, column: str, plaintext: bytes) -> bytes:
        """`owner` names the row (an id, an event id); the same three must be given to `open`."""
        day = int(time.time()) // _DAY_SECONDS
        header = _HEADER.pack(_VERSION, self._active, day)
        nonce = os.urandom(_NONCE)
        sealed = self._cipher(self._active, day).encrypt(nonce, plaintext, self._place(table, owner, column))
        return header + nonce + sealed

    def open(self, table: str, owner: bytes, column: str, sealed: bytes) -> bytes:
        """Raises Unsealable."""
        if len(sealed) < _HEADER.size + _NONCE + 16:
            raise Unsealable("too short")
        version, key_id, day = _HEADER.unpack_from(sealed)
        if version != _VERSION or key_id not in self._keys:
            raise Unsealable("unknown version or key")
        nonce = sealed[_HEADER.size : _HEADER.size + _NONCE]
        try:
            return self._cipher(key_id, day).decrypt(
                nonce, sealed[_HEADER.size + _NONCE :], self._place(table, owner, column)
            )
        except InvalidTag:
            raise Unsealable("not what was sealed here") from None

    def blind_index(self, namespace: str, value: bytes) -> bytes:
        """A keyed digest (32 bytes) to find equal values by, without telling the value."""
        return hmac.digest(self._keys[BLIND_KEY_ID], namespace.encode() + b"\0" + value, "sha256")

    def _place(self, table: str, owner: bytes, column: str) -> bytes:
        return b"%d\0%s\0%s\0%s" % (self._app_id, table.encode(), column.encode(), owner)

    def _cipher(self, key_id: int, day: int) -> AESGCM:
        cipher = self._ciphers.get((key_id, day))
        if cipher is None:
            if len(self._ciphers) >= _CACHED_DAYS:
                self._ciphers.clear()
            info = b"clarion day key %d" % day
            derived = HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(self._keys[key_id])
            cipher = self._ciphers[(key_id, day)] = AESGCM(derived)
        return cipher


class Wrapped(NamedTuple):
    """A data key under a key-encryption key."""

    kek_id: str
    wrapped: bytes


class UnknownKek(Unsealable):
    """The key-encryption key is not there, or not yet: its holders learn of a new one at different moments."""


class KeyWrapper(Protocol):
    """The port to whatever holds the key-encryption keys: a file, the environment, a key management service. The app and the
    number of a data key are bound to it, so that no wrapped key can stand in for another."""

    @property
    def active(self) -> str:
        """The id of the key-encryption key that wraps from now on."""
        ...

    async def wrap(self, app_id: int, key_id: int, key: bytes) -> Wrapped:
        """Under the active key-encryption key. Raises Unavailable."""
        ...

    async def unwrap(self, app_id: int, key_id: int, kek_id: str, wrapped: bytes) -> bytes:
        """Raises UnknownKek, Unsealable, Unavailable."""
        ...


class HeldKeys:
    """A key wrapper whose keys are in this process's memory."""

    def __init__(self, active: str, keys: Mapping[str, bytes]) -> None:
        if active not in keys:
            raise ValueError("the active key-encryption key is not among the keys")
        if any(len(key) != 32 for key in keys.values()):
            raise ValueError("a key-encryption key must have 32 bytes")
        self._active = active
        self._keys = dict(keys)

    @property
    def active(self) -> str:
        return self._active

    async def wrap(self, app_id: int, key_id: int, key: bytes) -> Wrapped:
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._keys[self._active]).encrypt(nonce, key, b"%d:%d" % (app_id, key_id))
        return Wrapped(self._active, nonce + sealed)

    async def unwrap(self, app_id: int, key_id: int, kek_id: str, wrapped: bytes) -> bytes:
        kek = self._keys.get(kek_id)
        if kek is None:
            raise UnknownKek(f"no key-encryption key {kek_id!r}")
        try:
            return AESGCM(kek).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], b"%d:%d" % (app_id, key_id))
        except InvalidTag:
            raise Unsealable("not a data key of this app") from None


def recipient_reference(app_id: int, recipient_id: str) -> bytes:
    """16 bytes that stand for a recipient everywhere but in the preference service: SHA-256 of app and client id."""
    return hashlib.sha256(b"clarion recipient\0%d\0%s" % (app_id, recipient_id.encode())).digest()[:16]
