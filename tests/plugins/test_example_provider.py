"""A provider that is installed as a package serves an account, without a change to the core."""

import asyncio
import importlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from clarion_client import AsyncClient, Channel, Content, Recipient, addresses
from clarion_client.errors import InvalidArgument
from clarion_kit.vocabulary import DeliveryState
from clarion_local.authority import Authority
from clarion_local.stack import Options, Stack
from clarion_testkit.shop import ALL_SCOPES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

PACKAGE = Path(__file__).with_name("example_provider")
KEY = "carrier-key-canary"


@dataclass
class Carrier:
    """The made-up carrier: takes messages over TLS."""

    ca_file: Path
    port: int = 0
    taken: list[dict[str, str]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            except asyncio.IncompleteReadError:
                break
            length = int(head.partition("content-length:")[2].split("\r\n")[0])
            document = json.loads(await reader.readexactly(length))
            status, answer = self.answer(f"bearer {KEY}" in head, document)
            body = json.dumps(answer).encode()
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    def answer(self, known: bool, document: dict[str, str]) -> tuple[int, dict[str, str]]:
        if not known:
            return 401, {"error": "unknown_key"}
        if not document.get("text"):
            return 422, {"error": "no_text"}
        if document["to"].endswith("404"):
            return 422, {"error": "no_such_number"}
        self.taken.append(document)
        return 202, {"id": f"carrier-{len(self.taken)}"}


@asynccontextmanager
async def carrier(folder: Path) -> AsyncIterator[Carrier]:
    files = Authority.create(folder).issue("carrier")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.cert, files.key)
    peer = Carrier(files.ca)
    server = await asyncio.start_server(peer.serve, "localhost", 0, family=socket.AF_INET, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, built and installed into a folder of its own that Python finds; no network, nothing else."""
    folder = tmp_path_factory.mktemp("plugins")
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "install", "--offline", "--no-deps"),
        *("--no-build-isolation", "--python", sys.executable, "--target", str(folder / "site"), str(PACKAGE)),
    ]
    environment = {
        "PATH": str(Path(sys.executable).parent),
        "UV_CACHE_DIR": str(folder / "cache"),
        "HOME": str(folder),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / "site"))
        importlib.invalidate_caches()
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "clarion_example_provider"]:
        del sys.modules[name]


@dataclass
class Mesh:
    """A mesh that was started with the package installed, its operator, and a client of one app."""

    stack: Stack
    operator: AsyncClient
    client: AsyncClient
    carrier: Carrier

    @property
    def settings(self) -> dict[str, str]:
        return {
            "base_url": f"https://localhost:{self.carrier.port}",
            "api_key": KEY,
            "sender": "Shop",
            "ca_file": str(self.carrier.ca_file),
        }

    async def sent(self, recipient_id: str, number: str) -> str:
        """The state in which a text message to this number ends."""
        await self.client.recipients.upsert(Recipient(recipient_id=recipient_id, addresses=[addresses.phone(number)]))
        accepted = await self.client.send(
            recipients=[recipient_id],
            category="transactional",
            channels=[Channel.SMS],
            content=Content(sms="Order 7 is on its way"),
        )
        async with asyncio.timeout(20):
            while True:
                found = await self.client.get(accepted.notification_id)
                states = [DeliveryState(delivery.state) for delivery in found.deliveries]
                if states and all(state.terminal for state in states):
                    [state] = states
                    return state.name
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(installed: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("plugin-mesh")
    async with (
        Stack.start(Options(folder / "stack", all_in_one=True)) as stack,
        carrier(folder / "carrier") as peer,
        AsyncClient.connect(
            stack.endpoints.gateway,
            stack.endpoints.admin_key,
            stack.endpoints.admin_secret,
            ca_file=stack.endpoints.ca_file,
        ) as operator,
    ):
        await operator.apps.create("plugged")
        key = await operator.apps.create_key("plugged", list(ALL_SCOPES))
        async with AsyncClient.connect(
            stack.endpoints.gateway, key.key.app_key, key.app_secret, ca_file=stack.endpoints.ca_file
        ) as client:
            yield Mesh(stack, operator, client, peer)


async def test_account_of_an_installed_kind_sends_and_its_error_table_counts(mesh: Mesh) -> None:
    stored = await mesh.operator.providers.put("plugged", "carrier", "example", mesh.settings)

    assert Channel(stored.provider.channel) is Channel.SMS
    assert await mesh.sent("anna", "+821012345678") == "SENT"
    assert await mesh.sent("ben", "+821012340404") == "FAILED"
    [message] = mesh.carrier.taken
    assert (message["from"], message["to"], message["text"]) == ("Shop", "+821012345678", "Order 7 is on its way")


async def test_faults_of_its_settings_are_named_to_whoever_puts_them(mesh: Mesh) -> None:
    faulty = mesh.settings | {"sender": "", "colour": "red"}

    with pytest.raises(InvalidArgument) as refused:
        await mesh.operator.providers.put("plugged", "faulty", "example", faulty)

    assert "sender" in str(refused.value)
    assert "colour" in str(refused.value)
    assert KEY not in str(refused.value)
