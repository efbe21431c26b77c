"""Which protocol versions and cipher suites a daemon agrees to, by real handshakes."""

import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority

HERE = Path(__file__).parent
LIMIT_SECONDS = 10
V = ssl.TLSVersion


@dataclass(frozen=True, slots=True)
class Served:
    """A daemon's server, and the authority to trust."""

    port: int
    ca: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    files = Authority.create(tmp_path_factory.mktemp("tls")).issue("template")
    child = [sys.executable, str(HERE / "tls_child.py"), str(files.cert.parent)]
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Served(int(process.stdout.readline()), files.ca)
        finally:
            process.communicate(timeout=LIMIT_SECONDS)


def speaking(ca: Path, least: ssl.TLSVersion, most: ssl.TLSVersion, suites: str = "ALL:@SECLEVEL=0") -> ssl.SSLContext:
    """A client that agrees to old things as well, so that a refusal is the server's."""
    context = ssl.create_default_context(cafile=ca)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what is tried
        context.minimum_version, context.maximum_version = least, most
    context.set_ciphers(suites)
    context.set_alpn_protocols(["h2"])
    return context


def agreed(port: int, context: ssl.SSLContext) -> tuple[str, str]:
    """Version and suite of a handshake. Raises ssl.SSLError, ConnectionError where the server refuses."""
    with (
        socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        cipher = secure.cipher()
        return secure.version() or "", cipher[0] if cipher else ""


@pytest.mark.parametrize(("least", "most"), [(V.TLSv1, V.TLSv1), (V.TLSv1_1, V.TLSv1_1), (V.TLSv1, V.TLSv1_1)])
def test_versions_before_1_2_are_refused(served: Served, least: ssl.TLSVersion, most: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        agreed(served.port, speaking(served.ca, least, most))


@pytest.mark.parametrize(
    "suites",
    [
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "AES128-SHA:AES256-SHA:AES128-SHA256",
        "AES128-GCM-SHA256",
    ],
)
def test_suites_without_authenticated_encryption_or_forward_secrecy_are_refused(served: Served, suites: str) -> None:
    context = speaking(served.ca, V.TLSv1_2, V.TLSv1_2, f"{suites}:@SECLEVEL=0")

    with pytest.raises((ssl.SSLError, ConnectionError)):
        agreed(served.port, context)


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"])
def test_1_2_with_authenticated_encryption_is_agreed_to(served: Served, suite: str) -> None:
    assert agreed(served.port, speaking(served.ca, V.TLSv1_2, V.TLSv1_2, suite)) == ("TLSv1.2", suite)


def test_1_3_is_preferred(served: Served) -> None:
    version, _ = agreed(served.port, speaking(served.ca, V.TLSv1_2, V.TLSv1_3))

    assert version == "TLSv1.3"


def test_client_of_these_tests_would_agree_to_old_versions(tmp_path: Path) -> None:
    """Otherwise the refusals above would prove nothing."""
    files = Authority.create(tmp_path).issue("old")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)
    server.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.minimum_version, server.maximum_version = V.TLSv1, V.TLSv1_1
    incoming, outgoing, back, forth = (ssl.MemoryBIO() for _ in range(4))
    client = speaking(files.ca, V.TLSv1, V.TLSv1_1)
    here = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    there = server.wrap_bio(back, forth, server_side=True)
    for _ in range(4):
        for side, sent, other in ((here, outgoing, back), (there, forth, incoming)):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
            other.write(sent.read())

    assert here.version() == "TLSv1.1"


def test_clients_of_servers_of_the_platform_agree_to_no_less(tmp_path: Path) -> None:
    files = Authority.create(tmp_path).issue("nats")
    context = TlsFiles(files.ca, files.cert, files.key).client_context()
    suites = {suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"}

    assert context.minimum_version is V.TLSv1_2
    assert suites
    assert all("GCM" in name or "CHACHA20" in name for name in suites)
