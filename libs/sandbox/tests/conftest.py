"""A sandbox on free ports, a certificate for it, and an HTTP/2 client that trusts it."""

import asyncio
import ipaddress
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pyreqwest.client import Client, ClientBuilder

from clarion_sandbox.credentials import load_or_create
from clarion_sandbox.server import Sandbox
from clarion_sandbox.settings import Settings


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop the sandbox runs on in production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key files of a self-signed leaf for 127.0.0.1 and localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(cert.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def credentials_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Credentials made once: an RSA key for every test would take longer than the tests."""
    path = tmp_path_factory.mktemp("credentials") / "credentials.json"
    load_or_create(path, "clarion-sandbox")
    return path


@pytest.fixture
async def sandbox(tmp_path: Path, certificate: tuple[Path, Path], credentials_file: Path) -> AsyncIterator[Sandbox]:
    (tmp_path / "sandbox").mkdir()
    shutil.copy(credentials_file, tmp_path / "sandbox" / credentials_file.name)
    settings = Settings(
        dir=tmp_path / "sandbox",
        tls_cert=certificate[0],
        tls_key=certificate[1],
        smpp_receipt_delay_ms=0,
        callback_delay_ms=0,
    )
    async with Sandbox.start(settings) as running:
        yield running


@pytest.fixture
async def http(sandbox: Sandbox, certificate: tuple[Path, Path]) -> AsyncIterator[Client]:
    builder = ClientBuilder().http2(True).follow_redirects(False).add_root_certificate_pem(certificate[0].read_bytes())
    async with builder.base_url(sandbox.base_url).timeout(timedelta(seconds=5)).build() as client:
        yield client
