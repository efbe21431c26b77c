"""The tracker's doors take renewed certificates while they serve: seen by real handshakes."""

import asyncio
import ssl
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import aiosmtplib
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority
from clarion_tracker.adapters.granian_server import GranianServer, HttpStopped, Limits
from clarion_tracker.adapters.served_certificate import UnusableCertificate, copied
from clarion_tracker.adapters.smtp_listener import SmtpListener
from clarion_tracker.bounces import BounceDoor
from clarion_tracker.ports import Reply, Request

from .tracker_samples import FakeAccounts, FakeArrivals, tracked

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

OFTEN = timedelta(milliseconds=10)
LIMIT_SECONDS = 60
UNHURRIED = Limits(head=timedelta(seconds=30), answer=timedelta(seconds=30))


class Site:
    """Answers at once, but /slow only when it is let."""

    def __init__(self) -> None:
        self.begun, self.let = asyncio.Event(), asyncio.Event()

    async def handle(self, request: Request) -> Reply:
        if request.path == "/slow":
            self.begun.set()
            await self.let.wait()
        return Reply(200, body=b"here")


class Identity:
    """Files that an authority fills anew."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority.create(folder)
        self.files = TlsFiles.in_dir(self._authority.issue("tracker").cert.parent)
        self.client = TlsFiles.in_dir(self._authority.issue("client").cert.parent).client_context()

    def renew(self) -> bytes:
        """Gives the new certificate (DER)."""
        self._authority.issue("tracker")
        return self.certificate()

    def certificate(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.files.certificate.read_text())


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity(tmp_path / "ca")


class Connection:
    """One connection over TLS, its handshake done."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, identity: Identity) -> "Connection":
        opened = await asyncio.open_connection("127.0.0.1", port, ssl=identity.client, server_hostname="localhost")
        return cls(*opened)

    @property
    def certificate(self) -> bytes:
        der = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(der, bytes)
        return der

    async def ask(self, path: str) -> bytes:
        """The answer's first line; empty where the server closed before it saw the request."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        return await self._reader.readline()

    async def close(self) -> None:
        self._writer.close()
        # How the other side ends it says nothing about what was answered.
        with suppress(OSError):
            await asyncio.wait_for(self._writer.wait_closed(), LIMIT_SECONDS)


async def presented(port: int, identity: Identity) -> bytes:
    """The certificate that a new connection is shown. Raises what a refused connection raises."""
    connection = await Connection.open(port, identity)
    try:
        return connection.certificate
    finally:
        await connection.close()


async def until_presented(port: int, identity: Identity, certificate: bytes) -> None:
    """A handshake that the former server had begun when it stopped is cut; a refused connection is a failure."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            with suppress(ConnectionResetError, ConnectionAbortedError, ssl.SSLError):
                if await presented(port, identity) == certificate:
                    return


async def answered(port: int, identity: Identity) -> bytes:
    """The first line of an answer, asked for again where the former server cut the connection before it was asked."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            with suppress(ConnectionResetError, ConnectionAbortedError, ssl.SSLError):
                connection = await Connection.open(port, identity)
                line = await connection.ask("/")
                await connection.close()
                if line:
                    return line


async def test_https_shows_the_renewed_certificate_again_and_again(identity: Identity) -> None:
    server = GranianServer("127.0.0.1", 0, identity.files, look=OFTEN)
    async with server.serve(Site().handle) as port:
        first = await presented(port, identity)
        assert first == identity.certificate()
        for _ in range(2):
            await until_presented(port, identity, identity.renew())
        assert await answered(port, identity) == b"HTTP/1.1 200 OK\r\n"
        await server.ping()

    with pytest.raises(HttpStopped):
        await server.ping()


async def test_https_answers_on_the_connection_that_a_request_began_on(identity: Identity) -> None:
    site = Site()
    async with GranianServer("127.0.0.1", 0, identity.files, UNHURRIED, look=OFTEN).serve(site.handle) as port:
        connection = await Connection.open(port, identity)
        answer = asyncio.create_task(connection.ask("/slow"))
        await site.begun.wait()
        await until_presented(port, identity, identity.renew())

        site.let.set()
        assert await asyncio.wait_for(answer, LIMIT_SECONDS) == b"HTTP/1.1 200 OK\r\n"
        await connection.close()


async def test_https_goes_on_with_its_certificate_while_the_files_cannot_be_used(identity: Identity) -> None:
    before = identity.certificate()
    async with GranianServer("127.0.0.1", 0, identity.files, look=OFTEN).serve(Site().handle) as port:
        identity.files.key.write_text("nothing")
        identity.files.certificate.unlink()
        for _ in range(5):
            assert await presented(port, identity) == before


async def test_https_goes_on_with_its_certificate_where_the_new_one_is_of_a_kind_it_cannot_serve(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    before = identity.certificate()
    async with GranianServer("127.0.0.1", 0, identity.files, look=OFTEN).serve(Site().handle) as port:
        write_self_signed(identity.files, ec.generate_private_key(ec.SECP521R1()))
        async with asyncio.timeout(LIMIT_SECONDS):
            while "the former one goes on" not in caplog.text:
                assert await presented(port, identity) == before
        await until_presented(port, identity, identity.renew())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_kinds_of_keys_that_are_served(identity: Identity, make: Callable[[], Key]) -> None:
    write_self_signed(identity.files, make())

    with copied(identity.files) as (certificate, key):
        folder = certificate.parent
        assert certificate.read_bytes() == identity.files.certificate.read_bytes()
        assert key.read_bytes() == identity.files.key.read_bytes()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: ec.generate_private_key(ec.SECP256K1()),
        lambda: rsa.generate_private_key(65537, 1024),
        ed448.Ed448PrivateKey.generate,
    ],
)
async def test_start_with_a_key_of_another_kind_is_a_fault_and_no_end_of_the_process(
    identity: Identity, make: Callable[[], Key]
) -> None:
    write_self_signed(identity.files, make())

    with pytest.raises(UnusableCertificate):
        async with GranianServer("127.0.0.1", 0, identity.files).serve(Site().handle):
            pass


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("nothing")])
@pytest.mark.parametrize("name", ["certificate", "key"])
def test_files_that_are_none_are_a_fault(identity: Identity, name: str, spoil: Callable[[Path], object]) -> None:
    spoil(getattr(identity.files, name))

    with pytest.raises(UnusableCertificate), copied(identity.files):
        pass


def write_self_signed(files: TlsFiles, key: Key) -> None:
    """A certificate of its own and the key, as somebody might bring them."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256())
    )
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


async def test_smtp_shows_whoever_connects_the_newest_certificate(identity: Identity) -> None:
    counter, _ = tracked()
    door = BounceDoor(bytes(32), FakeAccounts(), FakeArrivals(), counter)
    async with SmtpListener("127.0.0.1", 0, "mx.example.com", identity.files).serve(door) as port:
        first = await presented_by_mail(port, identity)
        renewed = identity.renew()
        second = await presented_by_mail(port, identity)
        identity.files.key.write_text("nothing")
        third = await presented_by_mail(port, identity)

    assert first != renewed
    assert second == third == renewed


async def presented_by_mail(port: int, identity: Identity) -> bytes:
    """The certificate that STARTTLS shows."""
    client = aiosmtplib.SMTP(
        hostname="localhost",
        port=port,
        local_hostname="a.example",
        start_tls=True,
        tls_context=identity.client,
        timeout=LIMIT_SECONDS,
    )
    async with client:
        der = client.get_transport_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(der, bytes)
        return der
