"""The SMSC, driven by a client that writes SMPP 3.4 by hand."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from clarion_sandbox.server import Sandbox

RESPONSE = 0x80000000
RECEIVER, TRANSMITTER, SUBMIT, DELIVER, UNBIND, TRANSCEIVER, ENQUIRE = 1, 2, 4, 5, 6, 9, 0x15
PHONE = "491700000001"


class Pdu(NamedTuple):
    command: int
    status: int
    sequence: int
    body: bytes


class Client:
    """One connection; `read` gives PDUs in the order they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.sequence = 0

    def send(self, command: int, body: bytes = b"", *, status: int = 0, sequence: int | None = None) -> int:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        self.writer.write(struct.pack(">IIII", 16 + len(body), command, status, sequence) + body)
        return sequence

    async def read(self) -> Pdu:
        async with asyncio.timeout(5):
            length, command, status, sequence = struct.unpack(">IIII", await self.reader.readexactly(16))
            return Pdu(command, status, sequence, await self.reader.readexactly(length - 16))

    async def ask(self, command: int, body: bytes = b"") -> Pdu:
        sequence = self.send(command, body)
        pdu = await self.read()
        assert (pdu.command, pdu.sequence) == (command | RESPONSE, sequence)
        return pdu

    async def bind(self, system_id: str, password: str, mode: int = TRANSCEIVER) -> int:
        body = f"{system_id}\0{password}\0\0".encode() + b"\x34\0\0\0"
        return (await self.ask(mode, body)).status

    async def receipt(self) -> tuple[str, dict[int, bytes]]:
        """The next deliver_sm, answered: its text and its TLVs."""
        pdu = await self.read()
        assert pdu.command == DELIVER
        self.send(DELIVER | RESPONSE, b"\0", sequence=pdu.sequence)
        return parse_deliver(pdu.body)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def parse_deliver(body: bytes) -> tuple[str, dict[int, bytes]]:
    position = body.index(b"\0") + 3
    position = body.index(b"\0", position) + 3
    position = body.index(b"\0", position) + 1
    assert body[position] == 0x04
    position += 9
    length = body[position]
    text, rest = body[position + 1 : position + 1 + length], body[position + 1 + length :]
    tlvs = {}
    while rest:
        tag, size = struct.unpack(">HH", rest[:4])
        tlvs[tag], rest = rest[4 : 4 + size], rest[4 + size :]
    return text.decode(), tlvs


def submit_body(
    message: bytes = b"Hello",
    *,
    to: str = PHONE,
    source: tuple[int, str] = (5, "Clarion"),
    esm_class: int = 0,
    registered: int = 0,
    coding: int = 0,
    validity: str = "",
    tlvs: bytes = b"",
) -> bytes:
    return b"".join(
        (
            b"\0",
            bytes((source[0], 0)),
            f"{source[1]}\0".encode(),
            b"\x01\x01",
            f"{to}\0".encode(),
            bytes((esm_class, 0, 0)),
            b"\0",
            f"{validity}\0".encode(),
            bytes((registered, 0, coding, 0, len(message))),
            message,
            tlvs,
        )
    )


def tlv(tag: int, value: bytes) -> bytes:
    return struct.pack(">HH", tag, len(value)) + value


def entries(sandbox: Sandbox) -> list[dict[str, object]]:
    return [json.loads(line) for line in sandbox.ledger.read(0, 100).splitlines()]


def text_of(sandbox: Sandbox, n: int) -> str:
    arrival = sandbox.ledger.arrival(n)
    assert arrival is not None
    return arrival.content.decode()


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
async def connect(sandbox: Sandbox) -> AsyncIterator[Connect]:
    opened: list[Client] = []

    async def open_one() -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", sandbox.ports.smpp))
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        await client.close()


@pytest.fixture
async def bound(sandbox: Sandbox, connect: Connect) -> Client:
    client = await connect()
    assert await client.bind(sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password) == 0
    return client


async def test_bind_checks_id_and_password(sandbox: Sandbox, connect: Connect) -> None:
    known, password = sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password
    client = await connect()
    assert await client.bind("nobody", password) == 0x0F
    assert await client.bind(known, "wrong") == 0x0E
    assert await client.bind(known, password) == 0
    assert await client.bind(known, password) == 0x05


async def test_more_binds_than_allowed_are_refused(sandbox: Sandbox, connect: Connect) -> None:
    known, password = sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password
    statuses = [await (await connect()).bind(known, password, TRANSMITTER) for _ in range(17)]
    assert statuses == [0] * 16 + [0x05]


async def test_submit_needs_a_transmitting_bind(sandbox: Sandbox, connect: Connect) -> None:
    client = await connect()
    assert (await client.ask(SUBMIT, submit_body())).status == 0x04
    await client.bind(sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password, RECEIVER)
    assert (await client.ask(SUBMIT, submit_body())).status == 0x04


async def test_message_is_recorded_under_the_id_given_out(sandbox: Sandbox, bound: Client) -> None:
    answer = await bound.ask(SUBMIT, submit_body(tlvs=tlv(0x0204, b"\x12\x34")))
    (entry,) = entries(sandbox)
    assert answer.body == f"{entry['message_id']}\0".encode()
    assert (entry["destination"], entry["our_id"], text_of(sandbox, 1)) == (PHONE, str(0x1234), "Hello")


@pytest.mark.parametrize(
    ("coding", "octets", "text"),
    [
        (0, b"\x00 \x1b\x65 \x11 \x7f", "@ € _ à"),
        (3, b"caf\xe9", "café"),
        (8, "Привет 👋".encode("utf-16-be"), "Привет 👋"),
    ],
)
async def test_text_is_read_in_its_alphabet(
    sandbox: Sandbox, bound: Client, coding: int, octets: bytes, text: str
) -> None:
    assert (await bound.ask(SUBMIT, submit_body(octets, coding=coding))).status == 0
    assert text_of(sandbox, 1) == text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (submit_body(to="phone"), 0x0B),
        (submit_body(source=(5, "TwelveLetter")), 0x0A),
        (submit_body(source=(1, "+49170")), 0x0A),
        (submit_body(b"x" * 161), 0x01),
        (submit_body(b"\0a" * 71, coding=8), 0x01),
        (submit_body(b"\xe9", coding=0), 0x45),
        (submit_body(validity="tomorrow"), 0x62),
        (submit_body(registered=3), 0x07),
        (submit_body(b"\x05\x00", esm_class=0x40), 0x43),
        (submit_body(tlvs=tlv(0x0424, b"twice")), 0xC1),
        (submit_body()[:-1], 0x01),
        (submit_body(tlvs=b"\x04"), 0xC0),
        (b"x" * 20, 0x02),
    ],
)
async def test_faulty_submit_gets_its_status(bound: Client, body: bytes, status: int) -> None:
    assert (await bound.ask(SUBMIT, body)).status == status


async def test_parts_with_user_data_header_become_one_message(sandbox: Sandbox, bound: Client) -> None:
    # A surrogate pair is torn by the border on purpose.
    wave = "Hello 👋".encode("utf-16-be")
    for place in (2, 1):
        part = wave[:14] if place == 1 else wave[14:]
        header = bytes((5, 0, 3, 7, 2, place))
        assert (await bound.ask(SUBMIT, submit_body(header + part, esm_class=0x40, coding=8))).status == 0
    (entry,) = entries(sandbox)
    assert text_of(sandbox, 1) == "Hello 👋"
    assert str(entry["message_id"]).count(",") == 1
    kept = sandbox.ledger.arrival(1)
    assert kept is not None
    assert kept.attributes["segment_units"] == "7,1"


async def test_parts_with_sar_parameters_become_one_message(sandbox: Sandbox, bound: Client) -> None:
    for place, part in ((1, b"Hello "), (2, b"World")):
        sar = tlv(0x020C, b"\0\x07") + tlv(0x020E, b"\x02") + tlv(0x020F, bytes((place,)))
        assert (await bound.ask(SUBMIT, submit_body(part, tlvs=sar))).status == 0
    assert (len(entries(sandbox)), text_of(sandbox, 1)) == (1, "Hello World")


async def test_long_text_travels_in_message_payload(sandbox: Sandbox, bound: Client) -> None:
    assert (await bound.ask(SUBMIT, submit_body(b"", tlvs=tlv(0x0424, b"x" * 1000)))).status == 0
    assert text_of(sandbox, 1) == "x" * 1000


async def test_receipt_comes_in_text_and_parameters(sandbox: Sandbox, bound: Client) -> None:
    await bound.ask(SUBMIT, submit_body(registered=1))
    text, tlvs = await bound.receipt()
    message_id = str(entries(sandbox)[0]["message_id"])
    assert text.startswith(f"id:{message_id} sub:001 dlvrd:001 submit date:")
    assert text.endswith(" stat:DELIVRD err:000 text:Hello")
    assert tlvs == {0x001E: f"{message_id}\0".encode(), 0x0427: b"\x02"}


async def test_receipt_takes_another_bind_of_the_account(sandbox: Sandbox, connect: Connect) -> None:
    sender, receiver = await connect(), await connect()
    for client, mode in ((sender, TRANSMITTER), (receiver, RECEIVER)):
        await client.bind(sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password, mode)
    await sender.ask(SUBMIT, submit_body(registered=1))
    assert "stat:DELIVRD" in (await receiver.receipt())[0]


async def test_receipt_waits_for_a_receiving_bind(sandbox: Sandbox, connect: Connect) -> None:
    sender = await connect()
    await sender.bind(sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password, TRANSMITTER)
    await sender.ask(SUBMIT, submit_body(registered=1))
    receiver = await connect()
    await receiver.bind(sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password, RECEIVER)
    assert "stat:DELIVRD" in (await receiver.receipt())[0]


async def test_receipt_is_sent_again_until_it_is_taken(bound: Client) -> None:
    await bound.ask(SUBMIT, submit_body(registered=1))
    first = await bound.read()
    bound.send(DELIVER | RESPONSE, b"\0", status=0x64, sequence=first.sequence)
    again = await bound.read()
    assert (again.command, again.body) == (DELIVER, first.body)
    assert again.sequence != first.sequence


async def test_receipt_goes_elsewhere_when_its_session_dies(sandbox: Sandbox, connect: Connect) -> None:
    sender, dying = await connect(), await connect()
    known, password = sandbox.credentials.smpp_system_id, sandbox.credentials.smpp_password
    await sender.bind(known, password, TRANSMITTER)
    await dying.bind(known, password, RECEIVER)
    await sender.ask(SUBMIT, submit_body(registered=1))
    assert (await dying.read()).command == DELIVER
    await dying.close()
    heir = await connect()
    await heir.bind(known, password, RECEIVER)
    assert "stat:DELIVRD" in (await heir.receipt())[0]


@pytest.mark.parametrize(
    ("code", "registered", "stats"),
    [
        ("630", 1, [("EXPIRED", "027", 3)]),
        ("640", 1, [("DELETED", "000", 4)]),
        ("650", 1, [("UNDELIV", "001", 5)]),
        ("654", 2, [("UNDELIV", "022", 5)]),
        ("680", 2, [("REJECTD", "044", 8)]),
        ("690", 1, [("DELIVRD", "000", 2), ("DELIVRD", "000", 2)]),
        ("694", 1, [("DELIVRD", "000", 2), ("ENROUTE", "000", 1)]),
        ("620", 0x11, [("ENROUTE", "000", 1), ("DELIVRD", "000", 2)]),
    ],
)
async def test_magic_number_chooses_the_receipt(
    bound: Client, code: str, registered: int, stats: list[tuple[str, str, int]]
) -> None:
    await bound.ask(SUBMIT, submit_body(to=f"49170999{code}0", registered=registered))
    for stat, error, state in stats:
        text, tlvs = await bound.receipt()
        assert f" stat:{stat} err:{error} " in text
        assert tlvs[0x0427] == bytes((state,))


async def test_receipt_may_carry_the_id_in_decimal(bound: Client) -> None:
    answer = await bound.ask(SUBMIT, submit_body(to="491709996930", registered=1))
    text, _ = await bound.receipt()
    assert text.startswith(f"id:{int(answer.body[:-1], 16)} ")


async def test_receipt_may_come_before_the_answer(bound: Client) -> None:
    bound.send(SUBMIT, submit_body(to="491709996910", registered=1))
    assert [(await bound.read()).command for _ in range(2)] == [DELIVER, SUBMIT | RESPONSE]


# Typed from SMPP v3.4 §5.1.3: every status of the specification a sender may meet, and one vendor code.
STATUSES = (
    "01 02 03 04 05 06 07 08 0A 0B 0C 0D 0E 0F 11 13 14 15 33 34 40 42 43 44 45 48 49 50 51 53 54 55 58 61 62 63 64 65 "
    "66 67 C0 C1 C2 C3 C4 FE FF"
)


async def test_magic_number_chooses_any_status(bound: Client) -> None:
    for status in (int(text, 16) for text in STATUSES.split()):
        assert (await bound.ask(SUBMIT, submit_body(to=f"49170999{status:03}0"))).status == status
    assert (await bound.ask(SUBMIT, submit_body(to="491709994110"))).status == 0x40B


async def test_flaky_number_works_after_its_failures(bound: Client) -> None:
    statuses = [(await bound.ask(SUBMIT, submit_body(to="491709990882"))).status for _ in range(3)]
    assert statuses == [0x58, 0x58, 0]


async def test_silent_and_cutting_numbers(sandbox: Sandbox, bound: Client) -> None:
    bound.send(SUBMIT, submit_body(to="491709999000"))
    bound.send(SUBMIT, submit_body(to="491709999020"))
    bound.send(SUBMIT, submit_body(to="491709999030"))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await bound.read()
    assert [(entry["answer"], entry["accepted"]) for entry in entries(sandbox)] == [
        ("hang", False),
        ("lost", True),
        ("lostcut", True),
    ]


async def test_enquire_link_and_unbind_are_answered(bound: Client) -> None:
    assert (await bound.ask(ENQUIRE)).status == 0
    assert (await bound.ask(UNBIND)).status == 0
    assert await bound.reader.read() == b""


async def test_unknown_command_is_nacked(bound: Client) -> None:
    sequence = bound.send(0x99)
    assert await bound.read() == Pdu(RESPONSE, 0x03, sequence, b"")


async def test_garbage_is_nacked_and_cut(bound: Client) -> None:
    bound.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await bound.read())[:2] == (RESPONSE, 0x02)
    assert await bound.reader.read() == b""
