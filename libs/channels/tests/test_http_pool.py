"""The HTTP pool against a real TLS HTTP/2 peer."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from h2.errors import ErrorCodes

from clarion.types.v1.address_pb2 import Address, AndroidDevice
from clarion_channels.http import (
    Attempt,
    HttpAnswer,
    HttpPool,
    NoAnswer,
    NotSent,
    PoolOptions,
    parse_retry_after,
    send_each,
)
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message

from .h2_peer import Peer, PeerStream, TestCa, make_ca, serve
from .push_messages import Reports, push_message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Start = Callable[..., Awaitable[HttpPool]]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    folder: Path = tmp_path_factory.mktemp("ca")
    return make_ca(folder)


@pytest.fixture
async def start(ca: TestCa) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(peer: Peer, clients: int = 1, streams: int = 10, trusted: TestCa = ca) -> HttpPool:
            await stack.enter_async_context(serve(peer, ca.server_context()))
            pool = HttpPool(PoolOptions(clients, streams, timedelta(seconds=2), trusted.ca_file))
            stack.push_async_callback(pool.close, timedelta(0))
            return pool

        yield begin


async def post(pool: HttpPool, port: int, seconds: float = 5) -> HttpAnswer:
    return await pool.post(f"https://localhost:{port}/x", {"a": "b"}, b"body", timedelta(seconds=seconds), Attempt())


async def test_answer_has_status_kept_headers_and_body(start: Start) -> None:
    peer = Peer(on_request=lambda stream: stream.respond(503, b"later", {"retry-after": "3", "set-cookie": "x=y"}))
    pool = await start(peer)
    answer = await post(pool, peer.port)
    assert (answer.status, answer.headers, answer.body) == (503, {"retry-after": "3"}, b"later")
    assert answer.retry_after(NOW) == timedelta(seconds=3)
    assert (peer.requests[0].headers["a"], peer.requests[0].body) == ("b", b"body")


async def test_body_is_read_up_to_64_kilobytes(start: Start) -> None:
    peer = Peer(on_request=lambda stream: stream.respond(400, b"x" * 200_000, frames=20))
    pool = await start(peer)
    assert len((await post(pool, peer.port)).body) == 65536
    assert len((await post(pool, peer.port)).body) == 65536


async def test_redirect_is_an_answer_and_is_not_followed(start: Start) -> None:
    peer = Peer()
    peer.on_request = lambda stream: stream.respond(307, headers={"location": f"https://localhost:{peer.port}/y"})
    pool = await start(peer)
    assert (await post(pool, peer.port)).status == 307
    assert len(peer.requests) == 1


async def test_compressed_body_is_not_unpacked(start: Start) -> None:
    peer = Peer(on_request=lambda stream: stream.respond(200, b"not gzip", {"content-encoding": "gzip"}))
    pool = await start(peer)
    assert (await post(pool, peer.port)).body == b"not gzip"
    assert "accept-encoding" not in peer.requests[0].headers


async def test_proxy_of_the_environment_is_ignored(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    peer = Peer()
    pool = await start(peer)
    assert (await post(pool, peer.port)).status == 200


async def test_requests_spread_over_the_clients_of_the_pool(start: Start) -> None:
    held: list[PeerStream] = []
    peer = Peer()
    pool = await start(peer, clients=3, streams=2)
    await asyncio.gather(*[post(pool, peer.port) for _ in range(3)])
    peer.on_request = held.append
    async with asyncio.TaskGroup() as tasks:
        sending = [tasks.create_task(post(pool, peer.port)) for _ in range(6)]
        await peer.wait_for_requests(9)
        for stream in held:
            stream.respond(200)
    assert [task.result().status for task in sending] == [200] * 6
    assert len(peer.connections) == 3
    assert peer.most_open <= 2


async def test_burst_on_a_cold_pool_opens_one_connection_per_client(start: Start) -> None:
    peer = Peer()
    pool = await start(peer, clients=2, streams=100)
    answers = await asyncio.gather(*[post(pool, peer.port) for _ in range(200)])
    assert {answer.status for answer in answers} == {200}
    assert len(peer.connections) == 2


async def test_cold_client_whose_first_request_hangs_sends_no_others(start: Start) -> None:
    peer = Peer(on_request=lambda stream: None)
    pool = await start(peer)
    outcomes = await asyncio.gather(*[post(pool, peer.port, 0.4) for _ in range(3)], return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoAnswer", "NotSent", "NotSent"]


async def test_close_lets_open_requests_finish_and_takes_no_more(start: Start) -> None:
    held: list[PeerStream] = []
    peer = Peer(on_request=held.append)
    pool = await start(peer)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(post(pool, peer.port))
        await peer.wait_for_requests(1)
        closing = tasks.create_task(pool.close(timedelta(seconds=5)))
        await asyncio.sleep(0)
        with pytest.raises(NotSent, match="closed"):
            await post(pool, peer.port)
        held[0].respond(200)
    assert closing.done()
    assert sending.result().status == 200


async def test_close_gives_up_on_what_does_not_finish(start: Start) -> None:
    peer = Peer(on_request=lambda stream: None)
    pool = await start(peer)
    sending = asyncio.ensure_future(post(pool, peer.port))
    await peer.wait_for_requests(1)
    await pool.close(timedelta(seconds=0.05))
    with pytest.raises(NoAnswer):
        await sending


async def test_request_beyond_the_cap_waits_and_gives_up_at_half_time(start: Start) -> None:
    peer = Peer(on_request=lambda stream: None)
    pool = await start(peer, streams=1)
    first = asyncio.ensure_future(post(pool, peer.port, 0.4))
    await peer.wait_for_requests(1)
    with pytest.raises(NotSent) as caught:
        await post(pool, peer.port, 0.2)
    assert caught.value.code == "local:no_free_stream"
    with pytest.raises(NoAnswer):
        await first


async def test_refused_connection_is_not_sent(start: Start) -> None:
    pool = await start(Peer())
    with pytest.raises(NotSent, match="Connection refused"):
        await post(pool, 1)


async def test_foreign_certificate_is_not_sent(start: Start, tmp_path: Path) -> None:
    peer = Peer()
    pool = await start(peer, trusted=make_ca(tmp_path))
    with pytest.raises(NotSent, match="certificate"):
        await post(pool, peer.port)


@pytest.mark.parametrize(
    "fault",
    [
        lambda stream: stream.reset(ErrorCodes.REFUSED_STREAM),
        lambda stream: stream.connection.goaway(0),
    ],
    ids=["refused stream", "goaway"],
)
async def test_request_that_the_peer_declares_unprocessed_is_not_sent(
    start: Start, fault: Callable[[PeerStream], None]
) -> None:
    peer = Peer(on_request=fault)
    pool = await start(peer)
    with pytest.raises(NotSent):
        await post(pool, peer.port)


@pytest.mark.parametrize(
    "fault",
    [
        lambda stream: stream.connection.cut(),
        lambda stream: stream.connection.transport.close(),
        lambda stream: stream.reset(ErrorCodes.INTERNAL_ERROR),
        lambda stream: None,
    ],
    ids=["cut", "closed", "reset", "hang"],
)
async def test_request_without_an_answer_is_unknown_whatever_the_exception_is_called(
    start: Start, fault: Callable[[PeerStream], None]
) -> None:
    peer = Peer(on_request=fault)
    pool = await start(peer)
    with pytest.raises(NoAnswer) as caught:
        await post(pool, peer.port, 0.5)
    assert "localhost" not in str(caught.value)
    peer.on_request = lambda stream: stream.respond(200)
    assert (await post(pool, peer.port)).status == 200


async def test_client_on_which_nothing_was_answered_in_time_is_replaced(start: Start) -> None:
    peer = Peer()
    pool = await start(peer)
    await post(pool, peer.port)
    [silent] = peer.connections
    gone = asyncio.Event()
    silent.connection_lost = lambda exc: gone.set()  # type: ignore[method-assign]
    peer.on_request = lambda stream: None if stream.connection is silent else stream.respond(200)

    async def unanswered() -> None:
        with pytest.raises(NoAnswer):
            await post(pool, peer.port, 0.4)

    await asyncio.gather(*[unanswered() for _ in range(3)])
    assert (await post(pool, peer.port)).status == 200
    gc.collect()  # a client lives as long as the traceback of an error that it raised
    await asyncio.wait_for(gone.wait(), 5)  # the last of its requests closed it
    peer.connections.remove(silent)


async def test_answer_that_breaks_off_is_no_answer(start: Start) -> None:
    def break_off(stream: PeerStream) -> None:
        stream.connection.h2.send_headers(stream.stream_id, [(":status", "200"), ("content-length", "100")])
        stream.connection.h2.send_data(stream.stream_id, b"half")
        stream.connection.h2.reset_stream(stream.stream_id, ErrorCodes.INTERNAL_ERROR)
        stream.connection.flush()

    peer = Peer(on_request=break_off)
    pool = await start(peer)
    with pytest.raises(NoAnswer):
        await post(pool, peer.port)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        ("9" * 40, timedelta(days=1)),
        ("Fri, 02 Jan 2026 00:01:30 GMT", timedelta(seconds=90)),
        ("Thu, 01 Jan 2026 00:00:00 GMT", timedelta(0)),
        ("Fri, 02 Jan 2026 00:01:30", timedelta(seconds=90)),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("\u0661\u0662", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_a_day(value: str, expected: timedelta | None) -> None:
    assert parse_retry_after(value, NOW) == expected


def some_messages(count: int) -> list[Message]:
    return [push_message(Address(android=AndroidDevice(token=str(number)))) for number in range(count)]


async def test_send_each_turns_failures_into_results() -> None:
    async def send_one(message: Message, attempt: Attempt) -> Result:
        match message.address.android.token:
            case "0":
                raise NotSent("local:connect", "refused")
            case "1":
                raise NoAnswer("cut")
            case _:
                return Result(Outcome.ACCEPTED)

    reports = Reports()
    await send_each(some_messages(3), reports, send_one)
    assert reports.counts() == {Outcome.RETRY: 1, Outcome.UNKNOWN: 1, Outcome.ACCEPTED: 1}


async def test_cancelled_send_each_tells_what_had_left_from_what_had_not() -> None:
    started = asyncio.Event()

    async def send_one(message: Message, attempt: Attempt) -> Result:
        attempt.handed_over = message.address.android.token == "0"
        started.set()
        await asyncio.Event().wait()
        return Result(Outcome.ACCEPTED)

    reports = Reports()
    sending = asyncio.ensure_future(send_each(some_messages(3), reports, send_one))
    await started.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert reports.counts() == {Outcome.UNKNOWN: 1, Outcome.RETRY: 2}
