"""APNs against a real TLS HTTP/2 peer; each fault is one that stock aioapns 4.0 or h2 4.4 does not survive."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from pydantic import ValidationError

from clarion.types.v1.address_pb2 import APNS_ENVIRONMENT_DEVELOPMENT, Address, ApnsDevice
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, Provider, ProviderUnavailable
from clarion_channels.providers.apns import ApnsProvider, Factory

from .h2_peer import Peer, PeerStream, TestCa, make_ca, pem_of, serve
from .push_messages import Reports, push_message

KEY_PEM = pem_of(ec.generate_private_key(ec.SECP256R1()))
TOKEN_AUTH = {"kind": "token", "key_p8": KEY_PEM, "key_id": "ABCDEFGHIJ", "team_id": "TEAM123456"}
ERROR_BODY = b'{"reason":"Unregistered","timestamp":1700000000000}'

Connect = Callable[..., Awaitable[ApnsProvider]]


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("APNs has no receipts")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    folder: Path = tmp_path_factory.mktemp("ca")
    return make_ca(folder)


@pytest.fixture
async def connect(ca: TestCa) -> AsyncIterator[Connect]:
    """Start the peers (production, and development if given) and a provider that uses them."""
    async with AsyncExitStack() as stack:

        async def start(peer: Peer, development: Peer | None = None, **settings: object) -> ApnsProvider:
            for each in filter(None, (peer, development)):
                certificates = settings.get("auth", TOKEN_AUTH) is not TOKEN_AUTH
                await stack.enter_async_context(serve(each, ca.server_context(client_certificates=certificates)))
            document = {
                "auth": TOKEN_AUTH,
                "bundle_id": "com.example.app",
                "production_host": "localhost",
                "production_port": peer.port,
                "development_host": "localhost",
                "development_port": development.port if development else 1,
                "ca_file": str(ca.ca_file),
                "max_connections": 1,
                "timeout_seconds": 5,
                **settings,
            }
            provider = await Factory.connect(json.dumps(document).encode(), NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start


def messages(count: int, push: PushContent | None = None) -> list[Message]:
    return [push_message(Address(ios=ApnsDevice(token=f"{number:064x}")), push) for number in range(count)]


async def send(provider: Provider, batch: list[Message]) -> Reports:
    reports = Reports()
    await provider.send(batch, reports)
    assert len(reports.results) == len(batch)
    return reports


def hang(stream: PeerStream) -> None:
    """Take a request and never answer it."""


async def test_request_looks_as_apple_documents_it(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer)
    (message,) = messages(1)
    reports = await send(provider, [message])
    assert reports.only().outcome is Outcome.ACCEPTED
    assert reports.only().provider_message_id == str(message.delivery_id)
    headers = peer.requests[0].headers
    assert headers.pop("authorization").startswith("bearer ey")
    assert headers == {
        ":method": "POST",
        ":scheme": "https",
        ":path": f"/3/device/{0:064x}",
        ":authority": f"localhost:{peer.port}",
        "apns-topic": "com.example.app",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-id": str(message.delivery_id),
        "apns-expiration": str(int(message.expire_at.timestamp())),
    }


async def test_device_environment_chooses_the_host(connect: Connect) -> None:
    production, development = Peer(), Peer()
    provider = await connect(production, development)
    beta = push_message(Address(ios=ApnsDevice(token="f" * 64, environment=APNS_ENVIRONMENT_DEVELOPMENT)))
    reports = await send(provider, [*messages(2), beta])
    assert reports.counts() == {Outcome.ACCEPTED: 3}
    assert [stream.headers[":path"] for stream in development.requests] == [f"/3/device/{'f' * 64}"]


async def test_invalid_message_is_reported_and_the_others_are_sent(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer)
    reports = await send(provider, [*messages(1), *messages(1, PushContent(body="x" * 5000))])
    assert reports.counts() == {Outcome.ACCEPTED: 1, Outcome.BAD: 1}
    assert len(peer.requests) == 1


async def test_three_thousand_error_bodies_on_one_connection_do_not_stall_it(connect: Connect) -> None:
    peer = Peer(on_request=lambda stream: stream.respond(410, ERROR_BODY))
    provider = await connect(peer)
    for _ in range(6):
        reports = await send(provider, messages(500))
        assert reports.counts() == {Outcome.DEAD: 500}
    assert len(peer.requests) == 3000
    assert len(peer.connections) == 1


async def test_refused_stream_is_safe_to_retry_and_others_go_on(connect: Connect) -> None:
    def refuse_first(stream: PeerStream) -> None:
        stream.reset(ErrorCodes.REFUSED_STREAM) if len(peer.requests) == 1 else stream.respond(200)

    peer = Peer(on_request=refuse_first)
    provider = await connect(peer)
    reports = await send(provider, messages(10))
    assert reports.counts() == {Outcome.RETRY: 1, Outcome.ACCEPTED: 9}
    assert len(peer.connections) == 1


async def test_stream_reset_for_another_reason_is_unknown(connect: Connect) -> None:
    peer = Peer(on_request=lambda stream: stream.reset(ErrorCodes.INTERNAL_ERROR))
    provider = await connect(peer)
    result = (await send(provider, messages(1))).only()
    assert (result.outcome, result.code) == (Outcome.UNKNOWN, "rst:2")


async def test_goaway_repeats_newer_streams_and_waits_for_older_ones(connect: Connect) -> None:
    held: list[PeerStream] = []

    def hold_after_warm_up(stream: PeerStream) -> None:
        if len(peer.connections) > 1 or stream.stream_id == 1:
            stream.respond(200)
        else:
            held.append(stream)

    peer = Peer(on_request=hold_after_warm_up)
    provider = await connect(peer)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(5)))
        await peer.wait_for_requests(5)
        connection = peer.connections[0]
        connection.goaway(held[1].stream_id, b'{"reason":"Shutdown"}')
        held[0].respond(200)
        held[1].respond(410, ERROR_BODY)
    reports = sending.result()
    assert reports.counts() == {Outcome.ACCEPTED: 2, Outcome.DEAD: 1, Outcome.RETRY: 2}
    assert {result.code for result in reports.results.values() if result.outcome is Outcome.RETRY} == {
        "goaway:Shutdown"
    }
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}


async def test_goaway_and_the_last_answer_in_one_read_lose_nothing(connect: Connect) -> None:
    def say_goodbye_and_answer(stream: PeerStream) -> None:
        stream.connection.goaway(stream.stream_id)
        stream.respond(200)

    provider = await connect(Peer(on_request=say_goodbye_and_answer))
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}


async def test_goaway_that_names_our_credentials_stops_the_lane(connect: Connect) -> None:
    provider = await connect(
        Peer(on_request=lambda stream: stream.connection.goaway(0, b'{"reason":"InvalidProviderToken"}'))
    )
    result = (await send(provider, messages(1))).only()
    assert (result.outcome, result.code) == (Outcome.CRED, "goaway:InvalidProviderToken")


async def test_device_of_an_app_that_the_key_is_not_for_stops_nobody_else(connect: Connect) -> None:
    provider = await connect(Peer(on_request=lambda stream: stream.respond(400, b'{"reason":"TopicDisallowed"}')))
    stray = push_message(Address(ios=ApnsDevice(token="f" * 64, bundle_id="com.example.other")))

    ours, other = (await send(provider, messages(1))).only(), (await send(provider, [stray])).only()

    assert (ours.outcome, ours.code) == (Outcome.CRED, "400:TopicDisallowed")
    assert (other.outcome, other.code) == (Outcome.BAD, "400:TopicDisallowed")


async def test_nothing_is_sent_before_the_settings_of_the_peer(connect: Connect) -> None:
    peer = Peer(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}, hold_settings=True)
    provider = await connect(peer)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(5)))
        await asyncio.wait_for(peer.connected.wait(), 5)
        assert peer.requests == []
        peer.connections[0].send_settings()
    assert sending.result().counts() == {Outcome.ACCEPTED: 5}


async def test_peer_with_one_stream_gets_one_request_at_a_time(connect: Connect) -> None:
    peer = Peer(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    provider = await connect(peer)
    assert (await send(provider, messages(100))).counts() == {Outcome.ACCEPTED: 100}
    assert peer.most_open == 1


async def test_first_request_goes_alone_until_the_provider_token_is_accepted(connect: Connect) -> None:
    held: list[PeerStream] = []
    peer = Peer(on_request=held.append)
    provider = await connect(peer, max_connections=4)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(4)))
        await peer.wait_for_requests(1)
        assert len(peer.requests) == 1
        assert len(peer.connections) == 1
        peer.on_request = lambda stream: stream.respond(200)
        held[0].respond(200)
    assert sending.result().counts() == {Outcome.ACCEPTED: 4}


async def test_raised_stream_limit_is_used(connect: Connect) -> None:
    held: list[PeerStream] = []
    peer = Peer(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    provider = await connect(peer)
    await send(provider, messages(1))
    peer.on_request = held.append
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(3)))
        await peer.wait_for_requests(2)
        peer.connections[0].update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10})
        await peer.wait_for_requests(4)
        for stream in held:
            stream.respond(200)
    assert sending.result().counts() == {Outcome.ACCEPTED: 3}


async def test_full_connection_makes_the_pool_grow_up_to_its_limit(connect: Connect) -> None:
    held: list[PeerStream] = []
    peer = Peer()
    provider = await connect(peer, max_connections=3, max_streams=2)
    await send(provider, messages(1))
    peer.on_request = lambda stream: stream.respond(200) if stream.stream_id == 1 else held.append(stream)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(9)))
        await peer.wait_for_requests(9)
        assert len(peer.connections) == 3
        peer.on_request = lambda stream: stream.respond(200)
        for stream in held:
            stream.respond(200)
    assert sending.result().counts() == {Outcome.ACCEPTED: 9}


async def test_all_connections_show_the_same_provider_token(connect: Connect) -> None:
    def close_after_each(stream: PeerStream) -> None:
        stream.respond(200)
        stream.connection.goaway(stream.stream_id)

    peer = Peer(on_request=close_after_each)
    provider = await connect(peer)
    for _ in range(3):
        await send(provider, messages(1))
    assert len(peer.requests) == 3
    assert len({stream.headers["authorization"] for stream in peer.requests}) == 1


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"", 1),
        (ERROR_BODY, 7),
        (b"<html><body>Service unavailable</body></html>", 1),
        (b"x" * 200_000, 20),
    ],
    ids=["empty", "several frames", "html", "longer than the window"],
)
async def test_any_error_body_ends_its_own_request_only(connect: Connect, body: bytes, frames: int) -> None:
    peer = Peer(on_request=lambda stream: stream.respond(503, body, frames=frames))
    provider = await connect(peer)
    assert (await send(provider, messages(3))).counts() == {Outcome.RETRY: 3}
    assert len(peer.connections) == 1


async def test_large_payloads_wait_for_the_flow_control_window(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer)
    reports = await send(provider, messages(60, PushContent(body="x" * 3500)))
    assert reports.counts() == {Outcome.ACCEPTED: 60}
    assert all(len(stream.body) > 3500 for stream in peer.requests)


async def test_payload_larger_than_a_stream_window_is_sent_in_parts(connect: Connect) -> None:
    peer = Peer(settings={SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    provider = await connect(peer)
    assert (await send(provider, messages(5, PushContent(body="x" * 3500)))).counts() == {Outcome.ACCEPTED: 5}
    assert all(json.loads(stream.body)["aps"]["alert"]["body"] == "x" * 3500 for stream in peer.requests)


async def test_hanging_answer_is_unknown_and_its_stream_is_reset_while_others_go_on(connect: Connect) -> None:
    def hang_on_the_second(stream: PeerStream) -> None:
        if len(peer.requests) != 2:
            stream.respond(200)

    peer = Peer(on_request=hang_on_the_second)
    provider = await connect(peer, timeout_seconds=0.3)
    reports = await send(provider, messages(5))
    assert reports.counts() == {Outcome.ACCEPTED: 4, Outcome.UNKNOWN: 1}
    assert (await send(provider, messages(5))).counts() == {Outcome.ACCEPTED: 5}
    assert peer.resets == [peer.requests[1].stream_id]
    assert len(peer.connections) == 1


async def test_late_answer_to_a_reset_stream_harms_nobody(connect: Connect) -> None:
    held: list[PeerStream] = []
    peer = Peer()
    provider = await connect(peer, timeout_seconds=0.2)
    await send(provider, messages(1))
    peer.on_request = lambda stream: stream.respond(200) if held else held.append(stream)
    assert (await send(provider, messages(2))).counts() == {Outcome.UNKNOWN: 1, Outcome.ACCEPTED: 1}

    def answer_both(stream: PeerStream) -> None:
        # Raw frames, as if our reset had not reached the peer yet.
        connection = stream.connection
        late = connection.h2.encoder.encode([(":status", "410")])
        connection.transport.write(_frame(1, 0x4, held[0].stream_id, late) + _frame(0, 0x1, held[0].stream_id, b"{}"))
        stream.respond(200)

    peer.on_request = answer_both
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}
    assert len(peer.connections) == 1


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


async def test_peer_that_went_silent_gets_no_further_requests(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer, timeout_seconds=0.2)
    await send(provider, messages(1))
    peer.on_request = hang
    assert (await send(provider, messages(3))).counts() == {Outcome.UNKNOWN: 3}
    peer.on_request = lambda stream: stream.respond(200)
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}
    assert peer.requests[-1].stream_id == 1, "on a new connection"


async def test_cancelled_send_reports_written_as_unknown_and_the_rest_as_retry(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer, max_streams=2)
    await send(provider, messages(1))
    peer.on_request = hang
    reports = Reports()
    sending = asyncio.ensure_future(provider.send(messages(5), reports))
    await peer.wait_for_requests(3)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert reports.counts() == {Outcome.UNKNOWN: 2, Outcome.RETRY: 3}
    peer.on_request = lambda stream: stream.respond(200)
    assert (await send(provider, messages(5))).counts() == {Outcome.ACCEPTED: 5}


async def test_connection_cut_after_writing_is_unknown_and_the_next_send_connects_again(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer)
    await send(provider, messages(1))
    peer.on_request = lambda stream: stream.connection.cut()
    assert (await send(provider, messages(3))).counts() == {Outcome.UNKNOWN: 3}
    peer.on_request = lambda stream: stream.respond(200)
    assert (await send(provider, messages(3))).counts() == {Outcome.ACCEPTED: 3}


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\4\0\0\0\0\0\1oops"],
    ids=["never a whole frame", "a frame against the protocol"],
)
async def test_garbage_from_the_peer_ends_the_connection_and_no_more(connect: Connect, garbage: bytes) -> None:
    peer = Peer(on_request=lambda stream: stream.connection.transport.write(garbage))
    provider = await connect(peer, timeout_seconds=0.3)
    assert (await send(provider, messages(1))).counts() == {Outcome.UNKNOWN: 1}
    peer.on_request = lambda stream: stream.respond(200)
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}


async def test_waiting_for_a_full_pool_ends_in_retry_at_half_time(connect: Connect) -> None:
    peer = Peer(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}, on_request=hang)
    provider = await connect(peer, timeout_seconds=0.3)
    reports = await send(provider, messages(3))
    assert reports.counts() == {Outcome.UNKNOWN: 1, Outcome.RETRY: 2}
    assert "local:no_free_stream" in {result.code for result in reports.results.values()}


async def test_host_that_does_not_listen_is_retry_and_never_blocks_for_long(connect: Connect) -> None:
    provider = await connect(Peer(), production_port=1)
    reports = await send(provider, messages(50))
    assert reports.counts() == {Outcome.RETRY: 50}
    assert {result.code for result in reports.results.values()} == {"local:connect"}


async def test_peer_without_alpn_h2_is_refused(connect: Connect, ca: TestCa) -> None:
    other = Peer()
    async with serve(other, ca.server_context(alpn=False)):
        provider = await connect(Peer(), production_port=other.port)
        result = (await send(provider, messages(1))).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:connect")


async def test_peer_with_a_foreign_certificate_is_refused(connect: Connect, tmp_path: Path) -> None:
    peer = Peer()
    provider = await connect(peer, ca_file=str(make_ca(tmp_path).ca_file))
    assert (await send(provider, messages(1))).only().code == "local:connect"
    assert peer.requests == []


async def test_expired_token_that_is_fresh_here_means_a_wrong_clock(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_001_000.0 + 60)
    provider = await connect(Peer(on_request=lambda stream: stream.respond(403, b'{"reason":"ExpiredProviderToken"}')))
    assert (await send(provider, messages(1))).counts() == {Outcome.CRED: 1}


async def test_expired_token_is_signed_again_once_it_is_twenty_minutes_old(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_001_000.0 + 1500)
    peer = Peer(on_request=lambda stream: stream.respond(403, b'{"reason":"ExpiredProviderToken"}'))
    provider = await connect(peer)
    assert (await send(provider, messages(1))).counts() == {Outcome.RETRY: 1}
    peer.on_request = lambda stream: stream.respond(200)
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}
    first, second = (stream.headers["authorization"] for stream in peer.requests)
    assert first != second


async def test_idle_connection_is_checked_with_a_ping_and_kept(connect: Connect) -> None:
    peer = Peer()
    provider = await connect(peer, ping_seconds=1)
    await send(provider, messages(1))
    (connection,) = peer.connections
    pings: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    receive = connection.data_received

    def see_ping(data: bytes) -> None:
        if data[3:4] == b"\x06" and not pings.done():
            pings.set_result(None)
        receive(data)

    connection.data_received = see_ping  # type: ignore[method-assign]
    await asyncio.wait_for(pings, 5)
    assert (await send(provider, messages(1))).counts() == {Outcome.ACCEPTED: 1}
    assert peer.connections == [connection]


async def test_client_certificate_needs_no_token_and_no_warm_up(connect: Connect, ca: TestCa) -> None:
    held: list[PeerStream] = []
    peer = Peer(on_request=held.append)
    auth = {"kind": "certificate", "certificate_pem": ca.client_pem, "private_key_pem": ca.client_key_pem}
    provider = await connect(peer, auth=auth)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(3)))
        await peer.wait_for_requests(3)
        for stream in held:
            stream.respond(200)
    assert sending.result().counts() == {Outcome.ACCEPTED: 3}
    assert "authorization" not in peer.requests[0].headers


async def test_probe_passes_where_the_credentials_are_accepted(connect: Connect) -> None:
    peer = Peer(on_request=lambda stream: stream.respond(400, b'{"reason":"BadDeviceToken"}'))
    provider = await connect(peer)
    await provider.probe()
    assert peer.requests[0].headers[":path"] == "/3/device/" + "0" * 64


async def test_probe_names_what_is_wrong(connect: Connect) -> None:
    provider = await connect(Peer(on_request=lambda stream: stream.respond(403, b'{"reason":"InvalidProviderToken"}')))
    with pytest.raises(ProviderUnavailable, match="403:InvalidProviderToken"):
        await provider.probe()


async def test_probe_of_a_dead_host_fails(connect: Connect) -> None:
    provider = await connect(Peer(), production_port=1)
    with pytest.raises(ProviderUnavailable, match="cannot connect to localhost"):
        await provider.probe()


async def test_close_waits_for_what_is_open_and_sends_nothing_more(connect: Connect) -> None:
    held: list[PeerStream] = []
    peer = Peer(on_request=held.append)
    provider = await connect(peer)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(provider, messages(1)))
        await peer.wait_for_requests(1)
        closing = tasks.create_task(provider.close())
        await asyncio.sleep(0)
        held[0].respond(200)
    assert closing.done()
    assert sending.result().counts() == {Outcome.ACCEPTED: 1}
    assert (await send(provider, messages(1))).counts() == {Outcome.RETRY: 1}
    await provider.close()


@pytest.mark.parametrize(
    "fault",
    [{"auth": {**TOKEN_AUTH, "key_p8": "secret-canary"}}, {"bundle_id": ""}, {"max_conections": 1}],
    ids=["key", "bundle id", "misspelt"],
)
async def test_faulty_settings_are_named_without_the_secret(connect: Connect, fault: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        await connect(Peer(), **fault)
    assert "secret-canary" not in str(caught.value)
