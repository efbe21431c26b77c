"""ES256 JSON Web Tokens (RFC 7515, RFC 7518 section 3.4), signed deterministically (RFC 6979).

The same claims and key give the same bytes in every process, so a fleet that agrees on the claims shares one token
without talking about it. PyJWT signs with a random nonce, which makes each token a new one to the provider.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_COORDINATE_BYTES = 32


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def load_p256_pem(pem: bytes) -> EllipticCurvePrivateKey:
    """A P-256 private key from unencrypted PEM; raises `ValueError` for anything else, never quoting the key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, ValueError) as error:
        raise ValueError("not an unencrypted PEM private key") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("not a P-256 key")
    return key


def sign(key: EllipticCurvePrivateKey, headers: Mapping[str, str], claims: Mapping[str, str | int]) -> str:
    """The compact serialisation of a token; `alg` is added to the headers."""
    signed = f"{_segment({'alg': 'ES256', **headers})}.{_segment(claims)}"
    r, s = decode_dss_signature(key.sign(signed.encode("ascii"), ECDSA(SHA256(), deterministic_signing=True)))
    signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
    return f"{signed}.{b64url(signature)}"


def _segment(value: Mapping[str, str | int]) -> str:
    return b64url(json.dumps(value, separators=(",", ":")).encode())
