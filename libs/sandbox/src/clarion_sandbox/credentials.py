"""The fake credentials clients practise with: made on the first start, kept in the state directory."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

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
    huawei_client_id: str
    huawei_client_secret: str = field(repr=False)
    huawei_project_id: str
    huawei_callback_user: str
    huawei_callback_key: str = field(repr=False)
    twilio_account_sid: str
    twilio_auth_token: str = field(repr=False)
    twilio_key_sid: str
    twilio_key_secret: str = field(repr=False)
    twilio_messaging_service_sid: str
    ses_access_key_id: str
    ses_secret_access_key: str = field(repr=False)
    sns_private_key_pem: str = field(repr=False)
    sns_certificate_pem: str
    sendgrid_api_key: str = field(repr=False)
    sendgrid_event_private_key_pem: str = field(repr=False)


def load_or_create(path: Path, project: str) -> Credentials:
    """The credentials kept at ``path``, or new ones written there (mode 0600).

    They outlive a restart, so that a client configured once still gets in after the sandbox was killed. What an older
    sandbox did not know yet is added.

    Raises:
        ValueError: the file exists and is not what this function writes.
    """
    names = {entry.name for entry in fields(Credentials)}
    kept = json.loads(path.read_bytes()) if path.exists() else {}
    if not isinstance(kept, dict) or not names.issuperset(kept):
        raise ValueError(f"{path.name} has unknown fields")
    if names == kept.keys():
        return Credentials(**kept)
    credentials = Credentials(**(asdict(_generate(project)) | kept))
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


def spki_base64(key: ec.EllipticCurvePrivateKey) -> str:
    """The public key as base64 of its SubjectPublicKeyInfo, without PEM's armour."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode("ascii")


def _generate(project: str) -> Credentials:
    sns_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
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
        huawei_client_id=_digits(9),
        huawei_client_secret=secrets.token_hex(32),
        huawei_project_id=_digits(18),
        huawei_callback_user="clarion",
        huawei_callback_key=secrets.token_urlsafe(24),
        twilio_account_sid=f"AC{secrets.token_hex(16)}",
        twilio_auth_token=secrets.token_hex(16),
        twilio_key_sid=f"SK{secrets.token_hex(16)}",
        twilio_key_secret=secrets.token_urlsafe(24),
        twilio_messaging_service_sid=f"MG{secrets.token_hex(16)}",
        ses_access_key_id="AKIA" + "".join(secrets.choice(_KEY_ID_ALPHABET) for _ in range(16)),
        ses_secret_access_key=secrets.token_urlsafe(30),
        sns_private_key_pem=_pem(sns_key),
        sns_certificate_pem=_certificate("sns.amazonaws.com", sns_key),
        sendgrid_api_key=f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}",
        sendgrid_event_private_key_pem=_pem(ec.generate_private_key(ec.SECP256R1())),
    )


def _key_id() -> str:
    return "".join(secrets.choice(_KEY_ID_ALPHABET) for _ in range(10))


def _digits(count: int) -> str:
    return "1" + "".join(secrets.choice("0123456789") for _ in range(count - 1))


def _certificate(common_name: str, key: rsa.RSAPrivateKey) -> str:
    """A certificate of ten years that the key signs for itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
