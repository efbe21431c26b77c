"""The fake credentials clients practise with: made on the first start, kept in the state directory."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from .encoding import b64url_encode

_KEY_ID_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything a client of the sandbox needs to authenticate; keys are PEM (PKCS #8)."""

    api_token: str = field(repr=False)
    apns_team_id: str
    apns_key_id: str
    apns_private_key_pem: str = field(repr=False)
    fcm_client_email: str
    fcm_private_key_id: str
    fcm_private_key_pem: str = field(repr=False)
    vapid_private_key_pem: str = field(repr=False)
    smpp_system_id: str
    smpp_password: str = field(repr=False)
    smtp_username: str
    smtp_password: str = field(repr=False)


def load_or_create(path: Path, project: str) -> Credentials:
    """The credentials kept at ``path``, or new ones written there (mode 0600).

    They outlive a restart, so that a client configured once still gets in after the sandbox was killed.

    Raises:
        ValueError: the file exists and is not what this function writes.
    """
    if path.exists():
        try:
            return Credentials(**json.loads(path.read_bytes()))
        except TypeError as error:
            raise ValueError(f"{path.name} has unknown or missing fields") from error
    credentials = _generate(project)
    write_private(path, json.dumps(asdict(credentials), indent=1).encode())
    return credentials


def write_private(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; only the owner may read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)


def ec_private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of a PEM text.

    Raises:
        ValueError: another kind of key.
    """
    key = load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


def rsa_private_key(pem: str) -> rsa.RSAPrivateKey:
    """The RSA key of a PEM text.

    Raises:
        ValueError: another kind of key.
    """
    # The check of the primes takes 40 ms of every start, and this key is our own.
    key = load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The uncompressed public point: 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def vapid_key_pair(pem: str) -> tuple[str, str]:
    """(public, private) of a VAPID key in the base64url form browsers and push libraries use."""
    key = ec_private_key(pem)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    return b64url_encode(public_point(key)), b64url_encode(scalar)


def _generate(project: str) -> Credentials:
    return Credentials(
        api_token=secrets.token_urlsafe(32),
        apns_team_id=_key_id(),
        apns_key_id=_key_id(),
        apns_private_key_pem=_pem(ec.generate_private_key(ec.SECP256R1())),
        fcm_client_email=f"sandbox@{project}.iam.gserviceaccount.com",
        fcm_private_key_id=secrets.token_hex(20),
        fcm_private_key_pem=_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        vapid_private_key_pem=_pem(ec.generate_private_key(ec.SECP256R1())),
        smpp_system_id="clarion",
        # SMPP 3.4 allows eight characters and no more.
        smpp_password=secrets.token_hex(4),
        smtp_username="clarion@sandbox.invalid",
        smtp_password=secrets.token_urlsafe(18),
    )


def _key_id() -> str:
    return "".join(secrets.choice(_KEY_ID_ALPHABET) for _ in range(10))


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
