"""Voluntary Application Server Identification (RFC 8292)."""

from collections import OrderedDict
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key

from clarion_channels.providers.es256 import b64url, load_p256_pem, sign
from clarion_channels.providers.webpush.encryption import b64url_decode, public_bytes

LIFETIME_SECONDS = 12 * 3600
"""`exp` may lie at most 24 hours ahead."""
RENEWAL_SECONDS = 6 * 3600
MAX_ORIGINS = 256

_SCALAR_BYTES = 32


def load_vapid_key(text: str) -> EllipticCurvePrivateKey:
    """A private key as PEM, or as the base64url scalar that web-push tools print; raises `ValueError`."""
    if text.lstrip().startswith("-----"):
        return load_p256_pem(text.encode())
    scalar = b64url_decode(text.strip())
    if len(scalar) != _SCALAR_BYTES:
        raise ValueError("a raw P-256 key has 32 bytes")
    return derive_private_key(int.from_bytes(scalar, "big"), SECP256R1())


class Vapid:
    """Makes the `authorization` header of one key and keeps it for six hours per push service, for at most 256 of them.

    `public_key` is in base64url without padding, as browsers give it.
    """

    def __init__(self, key: EllipticCurvePrivateKey, subject: str, wall_clock: Callable[[], float]) -> None:
        self._key = key
        self._subject = subject
        self._wall_clock = wall_clock
        self.public_key = b64url(public_bytes(key))
        self._headers: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def header(self, origin: str) -> str:
        """The header for one origin (`https://host[:port]`)."""
        now = self._wall_clock()
        signed_at, header = self._headers.get(origin, (0.0, ""))
        # A clock that stepped back must not keep a token that expires too far ahead.
        if not header or not 0 <= now - signed_at < RENEWAL_SECONDS:
            claims: dict[str, str | int] = {"aud": origin, "exp": int(now) + LIFETIME_SECONDS, "sub": self._subject}
            header = f"vapid t={sign(self._key, {'typ': 'JWT'}, claims)}, k={self.public_key}"
            self._headers[origin] = (now, header)
            if len(self._headers) > MAX_ORIGINS:
                self._headers.popitem(last=False)
        return header
