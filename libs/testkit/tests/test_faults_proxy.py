import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from clarion_testkit.faults.connection import Direction
from clarion_testkit.faults.proxy import FaultProxy

LIMIT_SECONDS = 5.0


@dataclass
class Line:
    """An echo server behind a proxy."""

    proxy: FaultProxy
    heard: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                self.heard.put_nowait(chunk)
                writer.write(chunk)
                await writer.drain()
        except ConnectionResetError:
            pass
        finally:
            self.hung_up.set()
            writer.close()


@asynccontextmanager
async def echo(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    lines: list[Line] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await lines[0].answer(reader, writer)

    async with echo(answer) as port, FaultProxy(port) as proxy:
        lines.append(Line(proxy))
        yield lines[0]


@asynccontextmanager
async def client(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            yield reader, writer
    finally:
        writer.transport.abort()


async def stays_silent(reader: asyncio.StreamReader, seconds: float = 0.05) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_passes_bytes_both_ways_and_counts_them(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        answer = await reader.read(-1)

    assert answer == b"x" * 1_000_000
    assert line.proxy.accepted == 1
    assert line.proxy.bytes_through == {Direction.TO_SERVER: 1_000_000, Direction.TO_CLIENT: 1_000_000}


async def test_delay_holds_each_byte_back_but_not_one_after_the_other(line: Line) -> None:
    line.proxy.delay(0.1)
    async with client(line.proxy) as (reader, writer):
        started = time.monotonic()
        writer.write(b"x" * 1_000_000)
        await reader.readexactly(1_000_000)
        took = time.monotonic() - started

    # There and back; 61 reads one after the other would take 12 s, more than the client waits.
    assert took >= 0.2


async def test_throttle_takes_hold_at_run_time_and_ends_with_heal(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        line.proxy.throttle(10_000, Direction.TO_CLIENT)
        started = time.monotonic()
        writer.write(b"x" * 2_000_000)
        await reader.readexactly(2_000)
        slow = time.monotonic() - started
        line.proxy.heal()
        await reader.readexactly(1_998_000)

    assert slow >= 0.1


async def test_rate_of_nothing_is_refused(line: Line) -> None:
    with pytest.raises(ValueError, match="above 0"):
        line.proxy.throttle(0)


async def test_blackhole_to_client_lets_requests_through_and_delivers_answers_after_healing(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        line.proxy.blackhole(Direction.TO_CLIENT)
        writer.write(b"ask")
        assert await line.heard.get() == b"ask"
        assert await stays_silent(reader)

        line.proxy.heal()

        assert await reader.readexactly(3) == b"ask"


async def test_blackhole_to_server_keeps_requests_from_the_server(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        line.proxy.blackhole(Direction.TO_SERVER)
        writer.write(b"ask")
        assert await stays_silent(reader)
        assert line.heard.empty()

        line.proxy.heal()

        assert await reader.readexactly(3) == b"ask"


async def test_blackhole_hides_that_the_server_has_hung_up(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        line.proxy.blackhole(Direction.TO_CLIENT)
        writer.write_eof()
        await line.hung_up.wait()
        assert await stays_silent(reader)

        line.proxy.heal()

        assert await reader.read() == b""


async def test_blackhole_makes_a_fast_sender_wait_instead_of_buffering_all(line: Line) -> None:
    async with client(line.proxy) as (_, writer):
        line.proxy.blackhole()
        writer.write(b"x" * 64_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await writer.drain()

    assert line.proxy.bytes_through[Direction.TO_SERVER] == 0


async def test_reset_reaches_both_sides_as_a_reset(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        writer.write(b"ask")
        await reader.readexactly(3)

        await line.proxy.reset()

        with pytest.raises(ConnectionResetError):
            await reader.read()
        await line.hung_up.wait()
    assert line.proxy.open_connections == 0


async def test_half_open_connection_looks_alive_to_its_client_only(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        writer.write(b"ask")
        await reader.readexactly(3)

        line.proxy.half_open()

        await line.hung_up.wait()
        writer.write(b"anyone there?")
        await writer.drain()
        assert await stays_silent(reader)
    async with client(line.proxy) as (reader, writer):
        writer.write(b"new")
        assert await reader.readexactly(3) == b"new"


async def test_dropped_reply_is_that_of_the_next_request_alone(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        dropped = line.proxy.drop_next_reply(b"COMMIT")
        writer.write(b"BEGIN")
        assert await reader.readexactly(5) == b"BEGIN"
        assert not dropped.is_set()
        writer.write(b"COMMIT")
        assert await reader.read() == b""

    assert dropped.is_set()
    assert [line.heard.get_nowait(), line.heard.get_nowait()] == [b"BEGIN", b"COMMIT"]
    async with client(line.proxy) as (reader, writer):
        writer.write(b"COMMIT")
        assert await reader.readexactly(6) == b"COMMIT"


async def test_refuses_new_connections_keeps_open_ones_and_its_port(line: Line) -> None:
    port = line.proxy.port
    async with client(line.proxy) as (reader, writer):
        writer.write(b"one")
        await reader.readexactly(3)

        await line.proxy.refuse()

        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
    line.proxy.heal()
    assert line.proxy.port == port
    async with client(line.proxy) as (reader, writer):
        writer.write(b"three")
        assert await reader.readexactly(5) == b"three"


async def test_repointed_proxy_leads_to_the_other_server(line: Line) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"other")
        writer.close()
        await writer.wait_closed()

    async with client(line.proxy) as (old, writer), echo(greet) as port:
        writer.write(b"one")
        await old.readexactly(3)

        await line.proxy.repoint(port)

        with pytest.raises(ConnectionResetError):
            await old.read()
        async with client(line.proxy) as (reader, _):
            assert await reader.read() == b"other"


async def test_connection_to_a_server_that_is_away_is_reset(line: Line) -> None:
    await line.proxy.repoint(1)

    async with client(line.proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_stop_ends_connections_that_are_held(line: Line) -> None:
    async with client(line.proxy) as (reader, writer):
        writer.write(b"one")
        await reader.readexactly(3)
        line.proxy.blackhole()

        await line.proxy.stop()

        assert await reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", line.proxy.port)
