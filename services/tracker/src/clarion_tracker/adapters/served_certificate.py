"""A certificate and its key as granian takes them.

It ends the whole process where it cannot use what it finds, so it is given copies that nobody changes any more, of kinds that
it knows (tried with 2.8.7).
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from clarion_kit.tls import TlsFiles

_CURVES = (ec.SECP256R1, ec.SECP384R1)
_LEAST_RSA_BITS = 2048


class UnusableCertificate(ValueError):
    """Certificate and key are missing, do not belong together, or are of a kind that is not served."""


@contextmanager
def copied(files: TlsFiles) -> Iterator[tuple[Path, Path]]:
    """Certificate and key as they are now, below a private folder that lasts while this is entered. Raises
    UnusableCertificate."""
    with TemporaryDirectory(prefix="clarion-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        try:
            certificate.write_bytes(files.certificate.read_bytes())
            key.write_bytes(files.key.read_bytes())
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
            _require_kind(certificate.read_bytes(), key.read_bytes())
        except (OSError, ValueError, TypeError) as fault:
            raise UnusableCertificate(f"the certificate cannot be served: {type(fault).__name__}") from fault
        yield certificate, key


def _require_kind(certificate: bytes, key: bytes) -> None:
    """Raises ValueError, and TypeError for a key under a password."""
    if x509.load_pem_x509_certificates(certificate)[0].version is not x509.Version.v3:
        raise ValueError("not an X.509 certificate of version 3")
    match serialization.load_pem_private_key(key, password=None):
        case rsa.RSAPrivateKey() as found if found.key_size >= _LEAST_RSA_BITS:
            return
        case ec.EllipticCurvePrivateKey() as found if isinstance(found.curve, _CURVES):
            return
        case ed25519.Ed25519PrivateKey():
            return
    raise ValueError("not an RSA key of 2,048 bits, on P-256 or P-384, or Ed25519")
