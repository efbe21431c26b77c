import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import uvloop
from pydantic import ValidationError

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, PhoneNumber
from clarion.types.v1.channel_pb2 import Priority
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Provider, ProviderUnavailable
from clarion_channels.providers.smpp import Factory

from .loopback_tls import Tls, make_tls

SUBMIT, SUBMIT_RESP = 0x04, 0x80000004
DELIVER, DELIVER_RESP = 0x05, 0x80000005
UNBIND, UNBIND_RESP = 0x06, 0x80000006
BIND, BIND_RESP = 0x09, 0x80000009
ENQUIRE, ENQUIRE_RESP = 0x15, 0x80000015
NACK = 0x80000000
RECEIPT = b"\0\1\1821012345678\0\5\0Shop\0\4\0\0\0\0\0\0\0\0\x12id:1 stat:DELIVRD "


class Peer:
    """The SMSC's end of one connection, down to the bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def receive(self) -> tuple[int, int, int, bytes]:
        """Command id, status, sequence and body of the next PDU."""
        header = await self.reader.readexactly(16)
        length, command, status, sequence = (int.from_bytes(header[at : at + 4], "big") for at in range(0, 16, 4))
        return command, status, sequence, await self.reader.readexactly(length - 16)

    async def expect(self, command: int) -> tuple[int, bytes]:
        """Sequence and body of the next PDU, which must be this command."""
        got, _, sequence, body = await self.receive()
        assert got == command
        return sequence, body

    def send(self, command: int, sequence: int, status: int = 0, body: bytes = b"") -> None:
        fields = (16 + len(body), command, status, sequence)
        self.writer.write(b"".join(field.to_bytes(4, "big") for field in fields) + body)

    async def bind(self, status: int = 0) -> None:
        sequence, _ = await self.expect(BIND)
        self.send(BIND_RESP, sequence, status, b"" if status else b"smsc\0")

    async def serve(self, status: int = 0) -> None:
        """Answer everything, each submit_sm with `status` and an id of its sequence, until the other end leaves."""
        while True:
            command, _, sequence, _ = await self.receive()
            if command == SUBMIT:
                self.send(SUBMIT_RESP, sequence, status, b"" if status else b"m%d\0" % sequence)
            elif command in (ENQUIRE, UNBIND):
                self.send(command | NACK, sequence)


Script = Callable[[Peer], Awaitable[None]]


async def well_behaved(peer: Peer) -> None:
    await peer.bind()
    await peer.serve()


@asynccontextmanager
async def smsc(*scripts: Script, tls: Tls | None = None) -> AsyncIterator[int]:
    """An SMSC whose n-th connection follows the n-th script, later ones a good one; a script's fault fails the test."""
    waiting = list(scripts)
    faults: list[BaseException] = []
    finished: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = asyncio.Event()
        finished.append(done)
        try:
            await (waiting.pop(0) if waiting else well_behaved)(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        except AssertionError as fault:
            faults.append(fault)
        finally:
            writer.transport.abort()
            done.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls.server if tls else None)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        for done in finished:
            await done.wait()
    if faults:
        raise faults[0]


class Store:
    """Keeps receipts once `gate` is open; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = failures
        self.kept: list[tuple[str, str, bytes]] = []

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.kept.append((provider, kind, body))


def document(port: int, **more: object) -> bytes:
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "system_id": "clarion",
        "password": "secret",
        "source": "Shop",
        "binds": 1,
        "timeout": 5,
        "reconnect_base": 0.001,
        "reconnect_cap": 0.01,
    }
    return json.dumps(settings | more).encode()


@asynccontextmanager
async def connected(port: int, store: Store | None = None, **more: object) -> AsyncIterator[Provider]:
    provider = await Factory().connect(document(port, **more), store or Store())
    try:
        yield provider
    finally:
        await provider.close()


def message(text: str = "Hi", to: str = "+821012345678", expires_in: timedelta = timedelta(hours=1)) -> Message:
    return Message(
        delivery_id=uuid4(),
        address=Address(sms=PhoneNumber(e164=to)),
        content=Rendered(sms=SmsContent(text=text)),
        priority=Priority.PRIORITY_URGENT,
        expire_at=datetime.now(UTC) + expires_in,
    )


class Results:
    """Reports by delivery; a second report of one message is a fault."""

    def __init__(self) -> None:
        self.by_delivery: dict[UUID, Result] = {}

    def __call__(self, message: Message, result: Result) -> None:
        assert message.delivery_id not in self.by_delivery
        self.by_delivery[message.delivery_id] = result


async def send(provider: Provider, *messages: Message) -> list[Result]:
    results = Results()
    await provider.send(messages, results)
    return [results.by_delivery[each.delivery_id] for each in messages]


async def test_a_message_is_submitted_and_its_id_kept() -> None:
    async def script(peer: Peer) -> None:
        sequence, body = await peer.expect(BIND)
        assert body == b"clarion\0secret\0\0\x34\0\0\0"
        peer.send(BIND_RESP, sequence, body=b"smsc\0")
        sequence, body = await peer.expect(SUBMIT)
        assert body.startswith(b"\0\5\0Shop\0\1\1821012345678\0\0\0\1\0")
        peer.send(SUBMIT_RESP, sequence, body=b"0A1F\0")
        await peer.serve()

    async with smsc(script) as port, connected(port) as provider:
        assert await send(provider, message()) == [
            Result(Outcome.ACCEPTED, "0x00", provider_message_id="0A1F", receipt_ids=("0A1F",))
        ]


async def test_segments_follow_one_another_and_their_ids_are_joined() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        for number in (1, 2, 3):
            sequence, body = await peer.expect(SUBMIT)
            assert b"\5\0\3" in body
            assert bytes([3, number]) in body
            # Nothing of the next segment is here before this one's answer.
            peer.send(ENQUIRE, 900 + number)
            await peer.expect(ENQUIRE_RESP)
            peer.send(SUBMIT_RESP, sequence, body=b"id%d\0" % number)
        await peer.serve()

    async with smsc(script) as port, connected(port) as provider:
        [result] = await send(provider, message("x" * 400))
    assert result.provider_message_id == "id1,id2,id3"
    assert result.receipt_ids == ("id1", "id2", "id3")


async def test_no_more_than_the_window_is_unanswered() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        open_sequences = [(await peer.expect(SUBMIT))[0], (await peer.expect(SUBMIT))[0]]
        for _ in range(3):
            peer.send(ENQUIRE, 900)
            await peer.expect(ENQUIRE_RESP)
            peer.send(SUBMIT_RESP, open_sequences.pop(0), body=b"x\0")
            open_sequences.append((await peer.expect(SUBMIT))[0])
        for sequence in open_sequences:
            peer.send(SUBMIT_RESP, sequence, body=b"x\0")
        await peer.serve()

    async with smsc(script) as port, connected(port, window=2) as provider:
        # Two calls at once ask for more than the window between them.
        first, second = await asyncio.gather(
            send(provider, message(), message()), send(provider, message(), message(), message())
        )
    assert {result.outcome for result in first + second} == {Outcome.ACCEPTED}


async def test_answers_out_of_order_find_their_messages() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        first, second = await peer.expect(SUBMIT), await peer.expect(SUBMIT)
        for sequence, body in (second, first):
            peer.send(SUBMIT_RESP, sequence, body=b"a\0" if b"AAA" in body else b"b\0")
        await peer.serve()

    async with smsc(script) as port, connected(port) as provider:
        results = await send(provider, message("AAA"), message("BBB"))
    assert [result.provider_message_id for result in results] == ["a", "b"]


async def test_messages_spread_over_the_binds() -> None:
    bound = asyncio.Barrier(3)

    async def script(peer: Peer) -> None:
        await peer.bind()
        await bound.wait()
        sequence, _ = await peer.expect(SUBMIT)
        peer.send(SUBMIT_RESP, sequence, body=b"x\0")
        await peer.serve()

    async with smsc(script, script) as port, connected(port, binds=2) as provider:
        await bound.wait()
        results = await send(provider, message(), message())
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


async def test_a_receipt_before_the_answer_is_stored_and_acknowledged_only_then() -> None:
    store = Store()
    store.gate.clear()

    async def script(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(SUBMIT)
        peer.send(DELIVER, 77, body=RECEIPT)
        peer.send(ENQUIRE, 78)
        assert (await peer.receive())[::2] == (ENQUIRE_RESP, 78)
        store.gate.set()
        assert (await peer.receive())[:3] == (DELIVER_RESP, 0, 77)
        assert len(store.kept) == 1
        peer.send(SUBMIT_RESP, sequence, body=b"1\0")
        await peer.serve()

    async with smsc(script) as port, connected(port, store) as provider:
        [result] = await send(provider, message())
    assert result.outcome is Outcome.ACCEPTED
    [(provider_name, kind, body)] = store.kept
    assert (provider_name, kind) == ("smpp", "smpp.deliver_sm")
    assert body.endswith(RECEIPT)
    assert body[:8].hex() == f"{len(body):08x}00000005"


async def test_a_receipt_that_cannot_be_stored_is_asked_for_again() -> None:
    store = Store(failures=1)
    delivered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.bind()
        for sequence, status in ((1, 0x64), (2, 0)):
            peer.send(DELIVER, sequence, body=RECEIPT)
            assert (await peer.receive())[:3] == (DELIVER_RESP, status, sequence)
        delivered.set()
        await peer.serve()

    async with smsc(script) as port, connected(port, store):
        await delivered.wait()
    assert len(store.kept) == 1


async def test_receipts_beyond_the_inbox_are_put_off() -> None:
    store = Store()
    store.gate.clear()
    put_off = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.bind()
        for sequence in range(1, 2001):
            peer.send(DELIVER, sequence, body=RECEIPT)
        assert (await peer.receive())[:2] == (DELIVER_RESP, 0x64)
        store.gate.set()
        put_off.set()
        await peer.serve()

    async with smsc(script) as port, connected(port, store):
        await put_off.wait()


@pytest.mark.parametrize(
    ("status", "outcome"), [(0x58, Outcome.THROTTLE), (0x14, Outcome.THROTTLE), (0x0B, Outcome.DEAD)]
)
async def test_a_refusal_has_its_class(status: int, outcome: Outcome) -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        await peer.serve(status)

    async with smsc(script) as port, connected(port) as provider:
        assert await send(provider, message()) == [Result(outcome, f"0x{status:02X}")]


async def test_a_generic_nack_refuses_the_message() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(SUBMIT)
        peer.send(NACK, sequence, 0x03)
        await peer.serve()

    async with smsc(script) as port, connected(port) as provider:
        assert await send(provider, message()) == [Result(Outcome.BAD, "0x03")]


async def test_a_refused_segment_decides_and_the_accepted_ids_stay() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(SUBMIT)
        peer.send(SUBMIT_RESP, sequence, body=b"one\0")
        await peer.serve(0x58)

    async with smsc(script) as port, connected(port) as provider:
        assert await send(provider, message("x" * 400)) == [
            Result(Outcome.THROTTLE, "0x58", "1 of 3 segments accepted", "one", receipt_ids=("one", "", ""))
        ]


async def test_a_second_try_carries_the_reference_of_the_first_and_the_next_message_another() -> None:
    references: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.bind()
        for answer in (0, 0x58, *[0] * 6):
            sequence, body = await peer.expect(SUBMIT)
            references.append(body[body.index(b"\5\0\3") + 3])
            peer.send(SUBMIT_RESP, sequence, answer, b"" if answer else b"m\0")

    text = message("x" * 400)
    async with smsc(script) as port, connected(port) as provider:
        assert [result.outcome for result in await send(provider, text)] == [Outcome.THROTTLE]
        assert [result.outcome for result in await send(provider, text)] == [Outcome.ACCEPTED]
        assert [result.outcome for result in await send(provider, message("x" * 400))] == [Outcome.ACCEPTED]
    first, other = references[0], references[-1]
    assert references == [first] * 5 + [other] * 3
    assert other == (first + 1) % 256


async def test_carriers_own_status_for_an_opt_out_suppresses_instead_of_disabling() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        await peer.serve(0x412)

    async with smsc(script) as port, connected(port, opted_out_statuses=[0x412]) as provider:
        assert await send(provider, message()) == [Result(Outcome.DEAD, "0x412", opted_out=True)]


async def test_a_session_cut_mid_window_leaves_the_written_unknown_and_sends_the_rest_on_the_next() -> None:
    async def cut(peer: Peer) -> None:
        await peer.bind()
        await peer.expect(SUBMIT)
        await peer.expect(SUBMIT)

    async with smsc(cut) as port, connected(port, window=2) as provider:
        written, rest = await asyncio.gather(send(provider, message(), message()), send(provider, message(), message()))
    assert [(result.outcome, result.code) for result in written] == [(Outcome.UNKNOWN, "no_answer")] * 2
    assert [result.outcome for result in rest] == [Outcome.ACCEPTED] * 2


async def test_a_session_lost_between_segments_is_no_loss_of_knowledge() -> None:
    async def cut(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(SUBMIT)
        peer.send(SUBMIT_RESP, sequence, body=b"one\0")
        peer.send(UNBIND, 5)
        await peer.writer.drain()

    async def away(peer: Peer) -> None:
        await peer.bind(0x08)

    async with smsc(cut, *[away] * 500) as port, connected(port, bind_wait=0.05) as provider:
        [result] = await send(provider, message("x" * 400))
    assert (result.outcome, result.provider_message_id) == (Outcome.RETRY, "one")


@pytest.mark.parametrize("garbage", [b"\xff" * 16, b"\0\0\0\x0f" * 4, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_garbage_ends_the_session_and_the_next_one_serves(garbage: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        await peer.expect(SUBMIT)
        peer.writer.write(garbage)
        assert await peer.reader.read() == b""

    async with smsc(script) as port, connected(port) as provider:
        [lost] = await send(provider, message())
        [sent] = await send(provider, message())
    assert (lost.outcome, sent.outcome) == (Outcome.UNKNOWN, Outcome.ACCEPTED)


async def test_an_answer_that_cannot_be_read_leaves_its_message_unknown_and_the_session_alive() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(SUBMIT)
        peer.send(SUBMIT_RESP, sequence, body=b"without end")
        await peer.serve()

    async with smsc(script) as port, connected(port) as provider:
        [lost] = await send(provider, message())
        [sent] = await send(provider, message())
    assert (lost.outcome, sent.outcome) == (Outcome.UNKNOWN, Outcome.ACCEPTED)


async def test_requests_that_make_no_sense_are_refused_and_the_session_lives() -> None:
    refused = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.bind()
        peer.send(0x103, 1)
        assert (await peer.receive())[:3] == (NACK, 0x03, 1)
        peer.send(DELIVER, 2, body=b"\1\1\1")
        assert (await peer.receive())[:3] == (NACK, 0x02, 2)
        peer.send(SUBMIT, 3, body=RECEIPT)
        assert (await peer.receive())[:3] == (NACK, 0x03, 3)
        peer.send(0x80000103, 4)
        peer.send(SUBMIT_RESP, 0x7000, body=b"late\0")
        refused.set()
        await peer.serve()

    async with smsc(script) as port, connected(port) as provider:
        await refused.wait()
        [result] = await send(provider, message())
    assert result.outcome is Outcome.ACCEPTED


async def test_an_unanswered_enquire_link_ends_the_session() -> None:
    replaced = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        await peer.bind()
        await peer.expect(ENQUIRE)
        assert await peer.reader.read() == b""

    async def next_one(peer: Peer) -> None:
        await peer.bind()
        replaced.set()
        await peer.serve()

    async with smsc(deaf, next_one) as port, connected(port, enquire_link_interval=0.02, timeout=0.1):
        await replaced.wait()


async def test_no_answer_in_time_leaves_the_message_unknown() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        await peer.expect(SUBMIT)
        await peer.serve()

    async with smsc(script) as port, connected(port, timeout=0.1) as provider:
        [result] = await send(provider, message())
    assert result.outcome is Outcome.UNKNOWN


async def test_the_smsc_may_unbind_and_is_bound_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        peer.send(UNBIND, 9)
        assert (await peer.receive())[:3] == (UNBIND_RESP, 0, 9)

    async with smsc(script) as port, connected(port) as provider:
        [result] = await send(provider, message())
    assert result.outcome is Outcome.ACCEPTED


async def test_close_waits_for_what_is_open_and_unbinds() -> None:
    submitted, closing = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(SUBMIT)
        submitted.set()
        await closing.wait()
        peer.send(ENQUIRE, 1)
        await peer.expect(ENQUIRE_RESP)
        peer.send(SUBMIT_RESP, sequence, body=b"x\0")
        sequence, _ = await peer.expect(UNBIND)
        peer.send(UNBIND_RESP, sequence)
        assert await peer.reader.read() == b""

    async with smsc(script) as port:
        provider = await Factory().connect(document(port), Store())
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send(provider, message()))
            await submitted.wait()
            tasks.create_task(provider.close())
            closing.set()
        await provider.close()
        assert sending.result()[0].outcome is Outcome.ACCEPTED
        [after] = await send(provider, message())
        assert (after.outcome, after.code) == (Outcome.RETRY, "closed")


async def test_a_refused_bind_stops_the_lane() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.bind(0x0E)

    async with smsc(*[refuse] * 500) as port, connected(port, bind_wait=0.05) as provider:
        with pytest.raises(ProviderUnavailable, match="0x0E bind refused"):
            await provider.probe()
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.CRED, "0x0E")


async def test_an_unreachable_smsc_is_tried_again() -> None:
    async with smsc() as port:
        pass
    async with connected(port, bind_wait=0.05) as provider:
        [result] = await send(provider, message())
        with pytest.raises(ProviderUnavailable, match="connection"):
            await provider.probe()
    assert (result.outcome, result.code) == (Outcome.RETRY, "connection")


async def test_probe_asks_a_bound_session() -> None:
    async with smsc() as port, connected(port) as provider:
        await send(provider, message())
        await provider.probe()


async def test_cancellation_reports_what_was_written_as_unknown_and_the_rest_as_retry() -> None:
    submitted = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.bind()
        await peer.expect(SUBMIT)
        submitted.set()
        await peer.serve()

    results = Results()
    messages = [message(), message()]
    async with smsc(script) as port, connected(port, window=1) as provider:
        sending = asyncio.ensure_future(provider.send(messages, results))
        await submitted.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert [results.by_delivery[each.delivery_id].outcome for each in messages] == [Outcome.UNKNOWN, Outcome.RETRY]


@pytest.mark.parametrize(
    ("unsendable", "outcome", "code"),
    [
        (message(""), Outcome.BAD, "Unsendable"),
        (message(to="01012345678"), Outcome.BAD, "Unsendable"),
        (message("x" * 2000), Outcome.BAD, "TooManyParts"),
        (message(expires_in=-timedelta(seconds=1)), Outcome.RETRY, "expired"),
    ],
)
async def test_what_cannot_be_sent_never_reaches_the_wire(unsendable: Message, outcome: Outcome, code: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.bind()
        sequence, _ = await peer.expect(UNBIND)
        peer.send(UNBIND_RESP, sequence)

    async with smsc(script) as port, connected(port) as provider:
        [result] = await send(provider, unsendable)
    assert (result.outcome, result.code) == (outcome, code)


async def test_sessions_run_over_tls(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    async with (
        smsc(tls=tls) as port,
        connected(port, tls=True, ca_file=str(tls.ca_file)) as trusting,
        connected(port, tls=True, bind_wait=0.2) as doubting,
    ):
        [sent] = await send(trusting, message())
        [refused] = await send(doubting, message())
    assert sent.outcome is Outcome.ACCEPTED
    assert (refused.outcome, refused.code) == (Outcome.CRED, "certificate")


async def test_faulty_settings_are_named() -> None:
    with pytest.raises(ValidationError) as caught:
        await Factory().connect(document(0, password="too long a password", source="", window=0), Store())
    assert {error["loc"] for error in caught.value.errors()} == {("port",), ("password",), ("source",), ("window",)}
    assert "too long a" not in str(caught.value)


async def test_a_missing_ca_file_is_named() -> None:
    with pytest.raises(ProviderUnavailable, match="ca_file"):
        await Factory().connect(document(3550, tls=True, ca_file="missing.pem"), Store())


@pytest.mark.parametrize(
    "scenario",
    [
        test_segments_follow_one_another_and_their_ids_are_joined,
        test_a_session_cut_mid_window_leaves_the_written_unknown_and_sends_the_rest_on_the_next,
        test_an_unanswered_enquire_link_ends_the_session,
        test_close_waits_for_what_is_open_and_unbinds,
    ],
)
def test_the_daemons_event_loop_serves_as_well(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
