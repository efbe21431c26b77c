"""A NATS client whose loops have ended connects again instead of standing still."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from clarion_kit.bus import BusUnavailable, JetStreamBus
from clarion_kit.steady_nats import SteadyClient
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.provider import Telemetry
from clarion_testkit.faults.proxy import FaultProxy

_AGAIN_SECONDS = 10


class Connected:
    """A client, and word of every new connection of it."""

    def __init__(self) -> None:
        self.client = SteadyClient()
        self.again = asyncio.Event()
        self.errors: list[Exception] = []

    async def on_reconnect(self) -> None:
        self.again.set()

    async def on_error(self, error: Exception) -> None:
        self.errors.append(error)

    async def connects_again(self) -> None:
        """And is of use: somebody is asked over the server, and what they say is read."""
        async with asyncio.timeout(_AGAIN_SECONDS):
            await self.again.wait()

        async def echo(message: Msg) -> None:
            await message.respond(message.data)

        subscription = await self.client.subscribe("echo", cb=echo)
        answer = await self.client.request("echo", b"here", timeout=5)
        assert answer.data == b"here"
        await subscription.unsubscribe()


@pytest_asyncio.fixture
async def connected(nats_url: str) -> AsyncIterator[Connected]:
    made = Connected()
    await made.client.connect(
        nats_url,
        reconnect_time_wait=0,
        ping_interval=1,
        max_reconnect_attempts=-1,
        reconnected_cb=made.on_reconnect,
        error_cb=made.on_error,
    )
    yield made
    await made.client.close()


async def test_reader_that_broke_brings_a_new_connection(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: bytes) -> None:
        monkeypatch.undo()
        raise asyncio.InvalidStateError

    monkeypatch.setattr(connected.client._ps, "parse", broken)
    await connected.client._send_ping()

    await connected.connects_again()


async def test_writer_that_broke_brings_a_new_connection(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: list[bytes]) -> None:
        monkeypatch.undo()
        raise RuntimeError("the transport is closed")

    monkeypatch.setattr(connected.client._transport, "writelines", broken)
    await connected.client.publish("anything", b"")

    await connected.connects_again()


async def test_pinger_that_broke_brings_a_new_connection(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        monkeypatch.undo()
        raise RuntimeError("the transport is closed")

    monkeypatch.setattr(connected.client, "_send_ping", broken)

    await connected.connects_again()


async def test_connecting_that_broke_off_goes_on(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        monkeypatch.undo()
        raise RuntimeError("the transport is closed")

    monkeypatch.setattr(connected.client, "_process_connect_init", broken)
    await connected.client.force_reconnect()

    await connected.connects_again()


async def test_closed_client_does_not_connect_again(connected: Connected) -> None:
    await connected.client.close()

    assert connected.client.is_closed
    assert not connected.again.is_set()


async def test_bus_whose_ping_was_answered_too_late_is_read_on(nats_url: str, telemetry: Telemetry) -> None:
    port = urlsplit(nats_url).port or 0
    async with FaultProxy(port) as proxy:
        url = nats_url.replace(f":{port}", f":{proxy.port}")
        async with JetStreamBus.connect(url, "test", Subjects(), telemetry) as bus:
            reader = bus._client._reading_task
            proxy.blackhole()
            with pytest.raises(BusUnavailable):
                await bus.ping()
            proxy.heal()

            await bus.ping()

            assert bus._client._reading_task is reader
            assert reader is not None
            assert not reader.done()
