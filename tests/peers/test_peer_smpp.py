"""SMPP against two SMSCs: the npm package smpp, and smpp.twisted3 of PyPI."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, PhoneNumber
from clarion.types.v1.channel_pb2 import PRIORITY_URGENT
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, Provider, ProviderUnavailable
from clarion_channels.providers.smpp import Factory

from .peer_process import PeerProcess, Said, running
from .reports import Receipts, send

HERE = Path(__file__).resolve().parent
PANGRAM = "Zażółć gęślą jaźń 🚀 " * 10
GSM_EXTENDED = "100 € {sicher} [ja] ~ Größe ^ Ω" * 12

Smsc = Callable[[], AbstractAsyncContextManager[PeerProcess]]


@pytest.fixture
def npm(node_modules: Path) -> Smsc:
    return lambda: running(["node", str(HERE / "smpp_server.js")], {"NODE_PATH": str(node_modules)})


@pytest.fixture
def python(twisted: Path) -> Smsc:
    return lambda: running([str(twisted), str(HERE / "smpp_twisted_server.py")])


@pytest.fixture(params=["npm", "python"])
def smsc(request: pytest.FixtureRequest) -> Smsc:
    chosen: Smsc = request.getfixturevalue(request.param)
    return chosen


@asynccontextmanager
async def bound(peer: PeerProcess, receipts: Receipts | None = None, **changes: object) -> AsyncIterator[Provider]:
    document = {
        "host": "127.0.0.1",
        "port": peer.port,
        "system_id": "clarion",
        "password": "secret",
        "source": "Shop",
        "binds": 1,
        "timeout": 10,
        "reconnect_base": 0.01,
        "reconnect_cap": 0.1,
        **changes,
    }
    provider = await Factory().connect(json.dumps(document).encode(), receipts or Receipts())
    try:
        yield provider
    finally:
        await provider.close()


def sms(text: str = "Hi", end: str = "00") -> Message:
    return Message(
        delivery_id=uuid4(),
        address=Address(sms=PhoneNumber(e164=f"+4917012345{end}")),
        content=Rendered(sms=SmsContent(text=text)),
        priority=PRIORITY_URGENT,
        expire_at=datetime.now(UTC) + timedelta(hours=1),
        collapse_key="",
    )


def whole(parts: list[Said]) -> str:
    """The text of a long message, put together by its user data headers as a phone would."""
    headers = [bytes.fromhex(str(part["udh"])) for part in parts]
    # 05 00 03 reference total number (3GPP TS 23.040, 9.2.3.24.1)
    tails = [
        (header[-3], header[-2], header[-1], str(part["text"])) for header, part in zip(headers, parts, strict=True)
    ]
    assert len({(reference, total) for reference, total, _, _ in tails}) == 1
    assert sorted(number for _, _, number, _ in tails) == list(range(1, tails[0][1] + 1))
    return "".join(text for _, _, _, text in sorted(tails, key=lambda tail: tail[2]))


async def test_message_is_taken_as_it_was_meant(smsc: Smsc) -> None:
    async with smsc() as peer, bound(peer) as provider:
        await provider.probe()
        [result] = await send(provider, [sms("Your code is 4711")])
        [said] = await peer.says("submit")
    assert result.outcome is Outcome.ACCEPTED
    assert result.provider_message_id
    assert (said["to"], said["from"], said["text"]) == ("491701234500", "Shop", "Your code is 4711")
    assert said["registered"] == 1


@pytest.mark.parametrize("text", [PANGRAM, GSM_EXTENDED, "x" * 1000], ids=["UCS-2", "GSM-7 with escapes", "plain"])
async def test_long_text_arrives_whole(npm: Smsc, text: str) -> None:
    async with npm() as peer, bound(peer) as provider:
        [result] = await send(provider, [sms(text)])
        ids = result.provider_message_id.split(",")
        parts = await peer.says("submit", len(ids))
    assert result.outcome is Outcome.ACCEPTED
    assert len(ids) == len(parts) > 1
    assert whole(parts) == text


@pytest.mark.parametrize(("end", "outcome"), [("08", Outcome.RETRY), ("11", Outcome.DEAD), ("88", Outcome.THROTTLE)])
async def test_refusal_has_the_outcome_that_its_status_means(smsc: Smsc, end: str, outcome: Outcome) -> None:
    async with smsc() as peer, bound(peer) as provider:
        refused, taken = await send(provider, [sms(end=end), sms()])
    assert (refused.outcome, taken.outcome) == (outcome, Outcome.ACCEPTED)


@pytest.mark.parametrize("end", ["00", "50", "91"], ids=["after the answer", "undelivered", "before the answer"])
async def test_receipt_is_stored_and_then_answered(npm: Smsc, end: str) -> None:
    receipts = Receipts()
    async with npm() as peer, bound(peer, receipts) as provider:
        [result] = await send(provider, [sms(end=end)])
        [taken] = await peer.says("receipt_taken")
    assert (taken["id"], taken["status"]) == (result.provider_message_id, 0)
    [(provider_name, _, body)] = receipts.kept
    assert provider_name == "smpp"
    assert f"id:{result.provider_message_id}".encode() in body


async def test_receipts_come_back_over_any_of_the_sessions(npm: Smsc) -> None:
    receipts = Receipts()
    async with npm() as peer, bound(peer, receipts, binds=3) as provider:
        await peer.says("bind", 3)
        results = await send(provider, [sms(f"number {n}") for n in range(60)])
        await peer.says("receipt_taken", 60)
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert len(receipts.kept) == 60


async def test_three_hundred_messages_through_a_small_window(smsc: Smsc) -> None:
    async with smsc() as peer, bound(peer, window=10) as provider:
        results = await send(provider, [sms(f"number {n}") for n in range(300)])
        said = await peer.says("submit", 300)
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert len({result.provider_message_id for result in results}) == 300
    assert {str(each["text"]) for each in said} == {f"number {n}" for n in range(300)}


async def test_wrong_password_is_named_as_such(smsc: Smsc) -> None:
    async with smsc() as peer, bound(peer, password="wrong") as provider:
        with pytest.raises(ProviderUnavailable):
            await provider.probe()
        [result] = await send(provider, [sms()])
    assert result.outcome is Outcome.CRED


async def test_idle_session_is_kept_alive_and_left_with_unbind(npm: Smsc) -> None:
    async with npm() as peer:
        async with bound(peer, enquire_link_interval=0.1) as provider:
            await send(provider, [sms()])
            await peer.says("enquire_link", 3)
        assert len(await peer.says("unbind")) == 1


async def test_cancelled_send_leaves_the_session_usable(npm: Smsc) -> None:
    async with npm() as peer, bound(peer) as provider:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(send(provider, [sms("x" * 1500) for _ in range(50)]))
            await peer.says("submit", 5)
            sending.cancel()
        assert sending.cancelled()
        [result] = await send(provider, [sms()])
    assert result.outcome is Outcome.ACCEPTED
