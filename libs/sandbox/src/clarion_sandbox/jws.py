"""Compact JSON Web Signatures (RFC 7515), ES256 and RS256 only, checked with `cryptography` alone."""

import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from .encoding import b64url_decode

_ES256_SIGNATURE_BYTES = 64
T = TypeVar("T")


class JwsError(Exception):
    """The token is malformed, uses another algorithm, or its signature does not verify."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A parsed token whose signature nobody has checked yet."""

    header: dict[str, object]
    claims: dict[str, object]
    signed: bytes
    signature: bytes

    def text_claim(self, name: str) -> str | None:
        """The claim if it is a string."""
        value = self.claims.get(name)
        return value if isinstance(value, str) else None

    def time_claim(self, name: str) -> float | None:
        """The claim in seconds since 1970 if it is a number."""
        value = self.claims.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def parse(token: str) -> Jws:
    """Split and decode a compact token.

    Raises:
        JwsError: it is not one.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise JwsError("not a compact token")
    try:
        header, claims = json.loads(b64url_decode(parts[0])), json.loads(b64url_decode(parts[1]))
        signature = b64url_decode(parts[2])
    except ValueError as error:
        raise JwsError("undecodable token") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise JwsError("header and claims must be objects")
    return Jws(header, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def verify_es256(jws: Jws, key: ec.EllipticCurvePublicKey) -> None:
    """Check an ES256 signature (RFC 7518 §3.4: r and s, 32 bytes each).

    Raises:
        JwsError: another algorithm or a wrong signature.
    """
    if jws.header.get("alg") != "ES256" or len(jws.signature) != _ES256_SIGNATURE_BYTES:
        raise JwsError("not an ES256 signature")
    r, s = int.from_bytes(jws.signature[:32], "big"), int.from_bytes(jws.signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), jws.signed, ec.ECDSA(SHA256()))
    except InvalidSignature as error:
        raise JwsError("wrong signature") from error


def verify_rs256(jws: Jws, key: rsa.RSAPublicKey) -> None:
    """Check an RS256 signature.

    Raises:
        JwsError: another algorithm or a wrong signature.
    """
    if jws.header.get("alg") != "RS256":
        raise JwsError("not an RS256 signature")
    try:
        key.verify(jws.signature, jws.signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise JwsError("wrong signature") from error


class Verified(Generic[T]):
    """What was learnt from checked tokens, by their text; bounded, because clients choose the keys."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._known: dict[str, T] = {}

    def get(self, token: str) -> T | None:
        """What was stored for ``token``."""
        return self._known.get(token)

    def put(self, token: str, value: T) -> None:
        """Remember ``value``; when full, everything older is forgotten and will be checked again."""
        if len(self._known) >= self._size:
            self._known.clear()
        self._known[token] = value
