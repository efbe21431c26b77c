"""A certificate authority of one's own, for mutual TLS on one machine."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clarion_local.private_file import write_private

_VALIDITY = timedelta(days=365)
# Clocks of containers and virtual machines drift.
_BACKDATED = timedelta(minutes=5)
_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?")

# The file names of a cert-manager secret, so that the same folder setting serves here and in Kubernetes.
_CA_FILE, _CERT_FILE, _KEY_FILE = "ca.crt", "tls.crt", "tls.key"
_CA_KEY_FILE = "ca.key"


class AuthorityUnusable(Exception):
    """The stored authority is missing, damaged or about to expire; create a new one and issue again."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one daemon: the authority to trust, its own chain, its own key (mode 0600)."""

    ca: Path
    cert: Path
    key: Path


def spiffe_id(daemon: str) -> str:
    """The identity a daemon's certificate carries as URI (https://spiffe.io/docs/latest/spiffe-about/spiffe-concepts/)."""
    return f"spiffe://clarion/{daemon}"


class Authority:
    """Issues certificates for daemons: ECDSA P-256, valid for a year, for client and server side at once."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new authority in `folder` (made, 0700), replacing one that is there. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Clarion local authority")])
        now = datetime.now(UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + _VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(folder / _CA_KEY_FILE, _key_pem(key))
        write_private(folder / _CA_FILE, _pem(certificate))
        return cls(folder, certificate, key)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The authority that `create` left in `folder`.

        Raises AuthorityUnusable when there is none, its files do not belong together, or it ends within a day.
        """
        try:
            certificate = x509.load_pem_x509_certificate((folder / _CA_FILE).read_bytes())
            key = serialization.load_pem_private_key((folder / _CA_KEY_FILE).read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise AuthorityUnusable(f"{folder}: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityUnusable(f"{folder}: key and certificate do not belong together")
        if certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=1):
            raise AuthorityUnusable(f"{folder}: ends on {certificate.not_valid_after_utc:%Y-%m-%d}")
        return cls(folder, certificate, key)

    @property
    def ca(self) -> Path:
        """The PEM file of the authority's certificate, for whoever has to trust it."""
        return self._folder / _CA_FILE

    def issue(self, name: str, dns: Sequence[str] = ("localhost",), ips: Sequence[str] = ("127.0.0.1",)) -> TlsFiles:
        """A new key and certificate for `name`, in a folder of that name, replacing an earlier pair file by file.

        The identity is the URI ``spiffe://clarion/<name>``; `dns` and `ips` are where its server is reached.
        Raises ValueError for a name that is no identifier (lower case, digits, ``_ . -``) or for a bad address,
        OSError.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a certificate")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key.public_key(), dns, ips)
        folder = self._folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        files = TlsFiles(ca=folder / _CA_FILE, cert=folder / _CERT_FILE, key=folder / _KEY_FILE)
        write_private(files.ca, _pem(self._certificate))
        write_private(files.key, _key_pem(key))
        write_private(files.cert, _pem(certificate))
        return files

    def _sign(
        self, name: str, key: ec.EllipticCurvePublicKey, dns: Sequence[str], ips: Sequence[str]
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe_id(name))]
        alternatives += [x509.DNSName(host) for host in dns]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in ips]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        own_identifier = x509.SubjectKeyIdentifier.from_public_key(key)
        authority_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _BACKDATED, self._certificate.not_valid_before_utc))
            # A certificate that outlives its authority would fail later than it should.
            .not_valid_after(min(now + _VALIDITY, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(own_identifier, critical=False)
            .add_extension(authority_identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
