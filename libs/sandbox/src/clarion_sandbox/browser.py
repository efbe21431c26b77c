"""The browsers of the sandbox: push subscriptions derived from a seed, so that thousands can be made offline.

The path of an endpoint carries the seed and a hash of the application's VAPID key; the browser's own key pair and
authentication secret follow from that id by HKDF. Nothing is registered and nothing is secret.
"""

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .credentials import public_point
from .encoding import b64url_decode, b64url_encode

PATH_PREFIX = "/wp/"
_SEED = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ID = re.compile(r"([A-Za-z0-9_-]{1,80})\.([A-Za-z0-9_-]{22})")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SCALAR_BYTES = 48
_AUTH_BYTES = 16
_CACHED_BROWSERS = 4096


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser gives the application. The sandbox's origin goes before ``endpoint_path``; keys are base64url."""

    endpoint_path: str
    p256dh: str
    auth: str


@dataclass(frozen=True, slots=True)
class Browser:
    """The receiving end of one subscription."""

    key: ec.EllipticCurvePrivateKey
    public: bytes
    auth: bytes


def subscription(vapid_public_key: str, seed: str) -> Subscription:
    """The subscription of the browser ``seed`` to the application with this VAPID key (base64url, 65-byte point).

    A seed starts with a magic code (magic.py) to make an endpoint that fails.

    Raises:
        ValueError: the key is no P-256 point, or the seed is not 1-80 characters of base64url.
    """
    if _SEED.fullmatch(seed) is None:
        raise ValueError("a seed is 1-80 characters of A-Z a-z 0-9 _ -")
    subscription_id = f"{seed}.{key_hash(vapid_public_key)}"
    browser = derive(subscription_id)
    return Subscription(PATH_PREFIX + subscription_id, b64url_encode(browser.public), b64url_encode(browser.auth))


def key_hash(vapid_public_key: str) -> str:
    """The part of an id that binds it to a VAPID key: 22 characters.

    Raises:
        ValueError: the key is no P-256 point.
    """
    point = b64url_decode(vapid_public_key)
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return b64url_encode(hashlib.sha256(point).digest()[:16])


def bound_key_hash(subscription_id: str) -> str | None:
    """The key hash an id carries, None if it is no id of ours."""
    match = _ID.fullmatch(subscription_id)
    return match[2] if match else None


def derive(subscription_id: str) -> Browser:
    """The keys of the browser behind an id; costs a point multiplication (25 µs measured)."""
    material = HKDF(SHA256(), _SCALAR_BYTES + _AUTH_BYTES, salt=None, info=b"clarion sandbox browser").derive(
        subscription_id.encode()
    )
    scalar = int.from_bytes(material[:_SCALAR_BYTES], "big") % (_P256_ORDER - 1) + 1
    key = ec.derive_private_key(scalar, ec.SECP256R1())
    return Browser(key, public_point(key), material[_SCALAR_BYTES:])


class Browsers:
    """Derived browsers, the newest kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Browser] = OrderedDict()

    def get(self, subscription_id: str) -> Browser:
        """The browser behind an id."""
        browser = self._known.get(subscription_id)
        if browser is None:
            browser = self._known[subscription_id] = derive(subscription_id)
            if len(self._known) > _CACHED_BROWSERS:
                self._known.popitem(last=False)
        return browser
