"""Posts to receivers on loopback that do what strangers' receivers may do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from clarion_channels.public_hosts import Resolve
from clarion_tracker.adapters.webhook_http import Receivers
from clarion_tracker.webhooks import Answer

SOON = timedelta(milliseconds=300)
ENOUGH = timedelta(seconds=5)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """What it got, and where it is."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@asynccontextmanager
async def receiving(behave: Behave) -> AsyncIterator[Receiver]:
    """Reads each request to the end of its body, then behaves."""
    receiver = Receiver()
    serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        task = asyncio.current_task()
        assert task is not None
        serving[task] = writer
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                )
                receiver.requests.append(head + await reader.readexactly(length))
                await behave(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*serving)


def answering(answer: bytes) -> Behave:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return behave


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head that never ends, letter by letter."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-a: ")
    while not writer.is_closing():
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that never ends, as fast as it is read."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        await writer.drain()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def post(
    url: str, *, private: bool = True, timeout: timedelta = ENOUGH, resolve: Resolve | None = None, times: int = 1
) -> Answer:
    async with Receivers(private=private, resolve=resolve).open() as receivers, receivers.knock() as door:
        for _ in range(times):
            answer = await door.post(url, {"webhook-id": "msg_1"}, b'{"a":1}', timeout)
    return answer


async def test_post_arrives_whole_and_any_2xx_takes_it() -> None:
    async with receiving(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as receiver:
        answer = await post(receiver.url)

    assert answer.taken
    [request] = receiver.requests
    assert request.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"webhook-id: msg_1\r\n" in request.lower()
    assert request.endswith(b'\r\n\r\n{"a":1}')


async def test_connection_is_kept_for_the_next_post() -> None:
    async with receiving(answering(OK)) as receiver:
        await post(receiver.url, times=3)

    assert (receiver.connections, len(receiver.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "HTTP 302"),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "HTTP 410"),
        (b"HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n", "HTTP 503"),
        (b"not http at all\r\n\r\n", "unreachable"),
    ],
)
async def test_anything_else_is_a_fault_and_no_redirect_is_followed(head: bytes, fault: str) -> None:
    async with receiving(answering(head)) as receiver:
        answer = await post(receiver.url)

    assert (answer.taken, answer.fault) == (False, fault)
    assert len(receiver.requests) == 1


async def test_receiver_says_when_to_come_again() -> None:
    async with receiving(answering(b"HTTP/1.1 429 No\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n")) as receiver:
        assert (await post(receiver.url)).retry_after == timedelta(minutes=2)


@pytest.mark.parametrize(("behave", "fault"), [(silence, "timeout"), (drip, "timeout"), (hang_up, "unreachable")])
async def test_receiver_that_gives_no_answer_costs_its_time_and_no_more(behave: Behave, fault: str) -> None:
    async with asyncio.timeout(3), receiving(behave) as receiver:
        answer = await post(receiver.url, timeout=SOON)

    assert (answer.status, answer.fault) == (0, fault)


async def test_endless_body_is_cut_and_its_status_counts() -> None:
    async with asyncio.timeout(3), receiving(endless) as receiver:
        answer = await post(receiver.url)

    assert answer.taken


async def test_nobody_listens() -> None:
    assert (await post("http://127.0.0.1:1/")).fault == "unreachable"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "https://localhost/", "https://[::1]/"])
async def test_private_hosts_are_not_dialled(url: str) -> None:
    assert (await post(url, private=False)).fault == "refused_address"


async def test_name_that_leads_inside_is_not_dialled() -> None:
    async def inside(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "127.0.0.1"]

    async with receiving(answering(OK)) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/"
        answer = await post(url, private=False, resolve=inside)

    assert answer.fault == "refused_address"
    assert receiver.connections == 0


async def test_name_that_is_bound_anew_leads_to_the_address_that_was_checked() -> None:
    """One look-up decides: the client never looks for itself."""
    asked = 0

    async def rebinding(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.1"] if asked == 1 else ["127.0.0.2"]

    async with receiving(answering(OK)) as receiver:
        answer = await post(f"http://rebound.invalid:{receiver.port}/hook", resolve=rebinding, times=2)

    assert (answer.taken, asked, len(receiver.requests)) == (True, 1, 2)


async def test_failure_is_followed_by_a_new_look_at_the_name() -> None:
    asked = 0

    async def counting(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.1"]

    await post("http://nobody.invalid:1/", resolve=counting, times=2)

    assert asked == 2


async def test_name_without_address_is_unresolved() -> None:
    async def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    assert (await post("http://nobody.invalid/", resolve=nowhere)).fault == "unresolved"
