import asyncio
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from clarion_local.authority import Authority, AuthorityUnusable, TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.cert, files.key)
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.cert, files.key)
    return context


async def test_daemons_of_one_authority_know_each_other_by_spiffe_identity(tmp_path: Path) -> None:
    authority = Authority.create(tmp_path)
    seen: asyncio.Queue[object] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(writer.get_extra_info("peercert")["subjectAltName"])
        writer.close()

    gateway = server_context(authority.issue("gateway"))
    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=gateway) as server:
        port = server.sockets[0].getsockname()[1]
        planner = client_context(authority.issue("planner", dns=["planner.clarion"], ips=[]))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=planner)
        identity = await asyncio.wait_for(seen.get(), 5)
        await reader.read()
        writer.close()
        await writer.wait_closed()

    assert identity == (("URI", "spiffe://clarion/planner"), ("DNS", "planner.clarion"))


async def test_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    ours, theirs = Authority.create(tmp_path / "ours"), Authority.create(tmp_path / "theirs")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(
        accept, "127.0.0.1", 0, ssl=server_context(theirs.issue("gateway"))
    ) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=client_context(ours.issue("planner")))


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    files = Authority.create(tmp_path).issue("gateway")

    assert {stat.S_IMODE(path.stat().st_mode) for path in (files.key, tmp_path / "ca.key")} == {0o600}


def test_loaded_authority_issues_certificates_of_the_same_authority(tmp_path: Path) -> None:
    created = Authority.create(tmp_path)
    issued = Authority.load(tmp_path).issue("gateway")

    root = x509.load_pem_x509_certificate(created.ca.read_bytes())
    leaf = x509.load_pem_x509_certificate(issued.cert.read_bytes())
    leaf.verify_directly_issued_by(root)
    assert leaf.not_valid_after_utc <= root.not_valid_after_utc


def test_missing_authority_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(AuthorityUnusable):
        Authority.load(tmp_path)


def test_key_of_another_authority_is_unusable(tmp_path: Path) -> None:
    Authority.create(tmp_path / "one")
    Authority.create(tmp_path / "two")
    (tmp_path / "one" / "ca.key").write_bytes((tmp_path / "two" / "ca.key").read_bytes())

    with pytest.raises(AuthorityUnusable, match="do not belong together"):
        Authority.load(tmp_path / "one")


@pytest.mark.parametrize("name", ["", "../gateway", "Gateway", "a/b", "-a"])
def test_name_that_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a certificate"):
        Authority.create(tmp_path).issue(name)
