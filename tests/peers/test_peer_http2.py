"""APNs and FCM against Node's HTTP/2 stack (nghttp2), which shares no code with ours or with the sandbox's."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, AndroidDevice, ApnsDevice
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Provider, ProviderUnavailable
from clarion_channels.providers.apns import Factory as Apns
from clarion_channels.providers.fcm import Factory as Fcm

from .conftest import TlsFiles
from .peer_process import PeerProcess, running
from .reports import NoReceipts, send

HERE = Path(__file__).resolve().parent
APNS_KEY = ec.generate_private_key(ec.SECP256R1())
FCM_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@asynccontextmanager
async def node(tls_files: TlsFiles, folder: Path, first_streams: int = 0) -> AsyncIterator[PeerProcess]:
    """The peer, which knows the public halves of the keys above."""
    keys: tuple[tuple[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey], ...] = (
        ("es256.pem", APNS_KEY),
        ("rs256.pem", FCM_KEY),
    )
    for name, key in keys:
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / name).write_bytes(public)
    files = [tls_files.certificate, tls_files.key, folder / "es256.pem", folder / "rs256.pem"]
    command = ["node", str(HERE / "http2_push.js"), *map(str, files), str(first_streams)]
    async with running(command) as peer:
        yield peer


@asynccontextmanager
async def apns(peer: PeerProcess, tls_files: TlsFiles, **changes: object) -> AsyncIterator[Provider]:
    document = {
        "auth": {"kind": "token", "key_p8": pem(APNS_KEY), "key_id": "ABCDEFGHIJ", "team_id": "TEAM123456"},
        "bundle_id": "com.example.app",
        "production_host": "localhost",
        "production_port": peer.port,
        "ca_file": str(tls_files.authority),
        "max_connections": 1,
        "timeout_seconds": 10,
        **changes,
    }
    provider = await Apns.connect(json.dumps(document).encode(), NoReceipts())
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def fcm(peer: PeerProcess, tls_files: TlsFiles, **changes: object) -> AsyncIterator[Provider]:
    document = {
        "service_account": {
            "type": "service_account",
            "project_id": "demo",
            "private_key_id": "key-1",
            "private_key": pem(FCM_KEY),
            "client_email": "push@demo.iam.gserviceaccount.com",
            "token_uri": f"https://localhost:{peer.port}/token",
        },
        "base_url": f"https://localhost:{peer.port}",
        "ca_file": str(tls_files.authority),
        "connections": 1,
        "timeout_seconds": 10,
        **changes,
    }
    provider = await Fcm.connect(json.dumps(document).encode(), NoReceipts())
    try:
        yield provider
    finally:
        await provider.close()


def push(address: Address, body: str = "is on its way") -> Message:
    return Message(
        delivery_id=uuid4(),
        address=address,
        content=Rendered(push=PushContent(title="Order 7", body=body)),
        priority=PRIORITY_NORMAL,
        expire_at=datetime.now(UTC) + timedelta(hours=1),
        collapse_key="",
    )


def phones(count: int, act: str = "", body: str = "is on its way") -> list[Message]:
    return [push(Address(ios=ApnsDevice(token=act + f"{n:x}".rjust(64 - len(act), "0"))), body) for n in range(count)]


def androids(count: int, act: str = "") -> list[Message]:
    return [push(Address(android=AndroidDevice(token=f"{act}device-{n}".ljust(100, "x")))) for n in range(count)]


def counts(results: Sequence[Result]) -> dict[Outcome, int]:
    found = [result.outcome for result in results]
    return {outcome: found.count(outcome) for outcome in set(found)}


async def test_node_reads_the_push_as_apple_documents_it(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path) as peer, apns(peer, tls_files) as provider:
        [message] = phones(1)
        [result] = await send(provider, [message])
        [said] = await peer.says("apns")
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, str(message.delivery_id))
    payload = said["payload"]
    assert isinstance(payload, dict)
    assert payload["aps"] == {"alert": {"title": "Order 7", "body": "is on its way"}}
    assert (said["topic"], said["type"], said["priority"], said["id"]) == (
        "com.example.app",
        "alert",
        "10",
        str(message.delivery_id),
    )
    assert said["authority"] == f"localhost:{peer.port}"


async def test_two_thousand_pushes_of_all_fates_on_one_connection(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path) as peer, apns(peer, tls_files, timeout_seconds=30) as provider:
        total: dict[Outcome, int] = {}
        for _ in range(4):
            batch = [*phones(200), *phones(200, "c410"), *phones(60, "c503"), *phones(20, "cfed"), *phones(20, "ca11")]
            for outcome, number in counts(await send(provider, batch)).items():
                total[outcome] = total.get(outcome, 0) + number
        assert total == {Outcome.ACCEPTED: 800, Outcome.DEAD: 800, Outcome.RETRY: 320, Outcome.UNKNOWN: 80}
        assert len(peer.of("session")) == 1


async def test_large_payloads_keep_to_the_windows_of_node(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path) as peer, apns(peer, tls_files) as provider:
        assert counts(await send(provider, phones(300, body="x" * 3900))) == {Outcome.ACCEPTED: 300}


async def test_one_stream_start_carries_two_hundred_concurrent_sends(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path, first_streams=1) as peer, apns(peer, tls_files) as provider:
        assert counts(await send(provider, phones(200))) == {Outcome.ACCEPTED: 200}
        assert len(peer.of("session")) == 1


async def test_goaway_of_node_loses_no_answer(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path) as peer, apns(peer, tls_files) as provider:
        await send(provider, phones(1))
        batch = [*phones(20), *phones(1, "cb1e"), *phones(20)]
        results = await send(provider, batch)
        assert set(counts(results)) <= {Outcome.ACCEPTED, Outcome.RETRY}
        assert counts(results)[Outcome.ACCEPTED] >= 21
        assert counts(await send(provider, phones(20))) == {Outcome.ACCEPTED: 20}
        assert len(peer.of("session")) == 2


async def test_session_that_node_destroys_leaves_its_requests_unknown(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path) as peer, apns(peer, tls_files) as provider:
        await send(provider, phones(1))
        assert counts(await send(provider, phones(1, "cd1e"))) == {Outcome.UNKNOWN: 1}
        assert counts(await send(provider, phones(1))) == {Outcome.ACCEPTED: 1}


async def test_node_verifies_the_provider_token(tls_files: TlsFiles, tmp_path: Path) -> None:
    other = {"kind": "token", "key_p8": "", "key_id": "ABCDEFGHIJ", "team_id": "TEAM123456"}
    other["key_p8"] = pem(ec.generate_private_key(ec.SECP256R1()))
    async with node(tls_files, tmp_path) as peer, apns(peer, tls_files, auth=other) as provider:
        assert counts(await send(provider, phones(1))) == {Outcome.CRED: 1}
        with pytest.raises(ProviderUnavailable, match="403:InvalidProviderToken"):
            await provider.probe()


async def test_fcm_gets_its_token_and_sends_over_one_connection(tls_files: TlsFiles, tmp_path: Path) -> None:
    async with node(tls_files, tmp_path) as peer, fcm(peer, tls_files) as provider:
        results = await send(provider, androids(300))
        assert counts(results) == {Outcome.ACCEPTED: 300}
        assert len({result.provider_message_id for result in results}) == 300
        said = await peer.says("fcm", 300)
    assert isinstance(said[0]["message"], dict)
    assert said[0]["message"]["notification"] == {"title": "Order 7", "body": "is on its way"}


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        ("cfed", Outcome.RETRY),
        ("ca11", Outcome.UNKNOWN),
        ("cbad", Outcome.UNKNOWN),
        ("cd1e", Outcome.UNKNOWN),
        ("cb1e", Outcome.ACCEPTED),
    ],
    ids=["refused stream", "cancel", "internal error", "session destroyed", "goaway, then the answer"],
)
async def test_fault_of_node_has_the_outcome_that_is_safe_for_fcm(
    tls_files: TlsFiles, tmp_path: Path, act: str, outcome: Outcome
) -> None:
    async with node(tls_files, tmp_path) as peer, fcm(peer, tls_files) as provider:
        await send(provider, androids(1))
        assert counts(await send(provider, androids(1, act))) == {outcome: 1}
        assert counts(await send(provider, androids(50))) == {Outcome.ACCEPTED: 50}
