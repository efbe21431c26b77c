"""Message encryption for Web Push (RFC 8291) in the aes128gcm coding (RFC 8188), one record."""

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_AUTH_BYTES = 16
_SALT_BYTES = 16
_KEY_BYTES = 16
_NONCE_BYTES = 12
_RECORD_SIZE = (4096).to_bytes(4, "big")
_LAST_RECORD = b"\x02"


class InvalidKeys(Exception):
    """The subscription's keys are not a P-256 point and a 16-byte secret."""


def b64url_decode(text: str) -> bytes:
    """Base64url with or without padding; raises `ValueError`."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encrypt(
    plaintext: bytes,
    p256dh: str,
    auth: str,
    *,
    salt: bytes | None = None,
    ephemeral_key: EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The request body for a subscription; salt and key are given only by tests. Raises `InvalidKeys`."""
    try:
        receiver_bytes, secret = b64url_decode(p256dh), b64url_decode(auth)
        receiver = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), receiver_bytes)
    except ValueError as error:
        raise InvalidKeys from error
    if len(secret) != _AUTH_BYTES:
        raise InvalidKeys
    key = ephemeral_key or generate_private_key(SECP256R1())
    salt = salt or os.urandom(_SALT_BYTES)
    sender_bytes = public_bytes(key)
    info = b"WebPush: info\x00" + receiver_bytes + sender_bytes
    shared = _hkdf(secret, key.exchange(ECDH(), receiver), info, hashlib.sha256().digest_size)
    content_key = _hkdf(salt, shared, b"Content-Encoding: aes128gcm\x00", _KEY_BYTES)
    nonce = _hkdf(salt, shared, b"Content-Encoding: nonce\x00", _NONCE_BYTES)
    record = AESGCM(content_key).encrypt(nonce, plaintext + _LAST_RECORD, None)
    return b"".join((salt, _RECORD_SIZE, bytes([len(sender_bytes)]), sender_bytes, record))


def public_bytes(key: EllipticCurvePrivateKey) -> bytes:
    """The uncompressed point of a key's public half, 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    # RFC 5869 for at most one block of output, which is all that RFC 8291 asks for.
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")[:length]
