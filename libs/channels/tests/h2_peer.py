"""A TLS HTTP/2 server that misbehaves on request: resets, GOAWAY, small windows, cut connections."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

_NAMES = ("localhost", "api.push.apple.com")


@dataclass(frozen=True)
class TestCa:
    """A certificate authority of a test, its server certificate for localhost, and a client certificate."""

    __test__ = False
    ca_file: Path
    server_file: Path
    client_pem: str
    client_key_pem: str

    def server_context(self, *, alpn: bool = True, client_certificates: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server_file)
        if alpn:
            context.set_alpn_protocols(["h2"])
        if client_certificates:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_ca(folder: Path) -> TestCa:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test ca")])
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    leaves = {}
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        leaf = (
            _certificate(subject, ca_name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns) for dns in _NAMES]), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(_usage(sign=False), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        leaves[name] = (leaf.public_bytes(serialization.Encoding.PEM).decode(), pem_of(key))
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    server_file.write_text("".join(leaves["server"]))
    return TestCa(ca_file, server_file, *leaves["client"])


def pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not sign, False, False, False, False, sign, sign, False, False)


@dataclass
class PeerStream:
    """A request that has arrived in full."""

    connection: "PeerConnection"
    stream_id: int
    headers: dict[str, str]
    body: bytes = b""

    def respond(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None, *, frames: int = 1
    ) -> None:
        """Answer, the body cut into `frames` DATA frames; `apns-id` is echoed as Apple does."""
        answer = {":status": str(status), **(headers or {})}
        if "apns-id" in self.headers:
            answer["apns-id"] = self.headers["apns-id"]
        self.connection.h2.send_headers(self.stream_id, list(answer.items()), end_stream=not body)
        if body:
            size = -(-len(body) // frames)
            parts = [body[start : start + size] for start in range(0, len(body), size)]
            self.connection.unsent[self.stream_id] = parts
            self.connection.pump()
        self.connection.flush()

    def reset(self, code: ErrorCodes) -> None:
        self.connection.h2.reset_stream(self.stream_id, code)
        self.connection.flush()


@dataclass
class Peer:
    """The server. `on_request` decides every answer; without one each request gets 200."""

    port: int = 0
    on_request: Callable[[PeerStream], None] = field(default=lambda stream: stream.respond(200))
    settings: dict[SettingCodes, int] = field(default_factory=dict)
    hold_settings: bool = False
    requests: list[PeerStream] = field(default_factory=list)
    connections: list["PeerConnection"] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    most_open: int = 0
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for_requests(self, count: int) -> None:
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) >= count)


class PeerConnection(asyncio.Protocol):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        # Those of the constructor go out with the first SETTINGS frame; h2 sends later ones only once acknowledged.
        self.h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1000, **peer.settings}
        )
        self.streams: dict[int, PeerStream] = {}
        self.unsent: dict[int, list[bytes]] = {}
        self.transport: asyncio.Transport
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peer.connections.append(self)
        self.peer.connected.set()
        if not self.peer.hold_settings:
            self.send_settings()

    def send_settings(self) -> None:
        self.h2.initiate_connection()
        self.flush()

    def update_settings(self, settings: dict[SettingCodes, int]) -> None:
        self.h2.update_settings(dict(settings.items()))
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self.h2.receive_data(data)
        except ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in events:
            if isinstance(event, RequestReceived):
                headers = {str(name): str(value) for name, value in event.headers}
                self.streams[event.stream_id] = PeerStream(self, event.stream_id, headers)
                self.peer.most_open = max(self.peer.most_open, len(self.streams))
            elif isinstance(event, DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.streams:
                    self.streams[event.stream_id].body += event.data
            elif isinstance(event, StreamEnded):
                self._serve(self.streams.pop(event.stream_id))
            elif isinstance(event, StreamReset):
                self.streams.pop(event.stream_id, None)
                self.unsent.pop(event.stream_id, None)
                self.peer.resets.append(event.stream_id)
            elif isinstance(event, WindowUpdated):
                self.pump()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.peer.connections:
            self.peer.connections.remove(self)

    def _serve(self, stream: PeerStream) -> None:
        self.peer.requests.append(stream)
        self.peer.on_request(stream)
        task = asyncio.get_running_loop().create_task(self._announce())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _announce(self) -> None:
        async with self.peer.arrived:
            self.peer.arrived.notify_all()

    def pump(self) -> None:
        """Send as much of the waiting bodies as the client's windows allow."""
        for stream_id, parts in list(self.unsent.items()):
            while parts and len(parts[0]) <= self.h2.local_flow_control_window(stream_id):
                part = parts.pop(0)
                self.h2.send_data(stream_id, part, end_stream=not parts)
            if not parts:
                del self.unsent[stream_id]

    def goaway(self, last_stream_id: int, debug_data: bytes = b"", code: int = 0) -> None:
        """A raw frame: h2 would refuse to answer the older streams afterwards."""
        self.flush()
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=code, additional_data=debug_data)
        self.transport.write(frame.serialize())

    def cut(self) -> None:
        self.transport.abort()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


@contextlib.asynccontextmanager
async def serve(peer: Peer, tls: ssl.SSLContext) -> AsyncIterator[Peer]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PeerConnection(peer), "localhost", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for connection in list(peer.connections):
            connection.cut()
        await server.wait_closed()
