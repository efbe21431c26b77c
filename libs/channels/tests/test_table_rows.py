"""Every row of every provider's error table, as the sandbox answers it over the wire.

What was exercised is counted in the summary of the run (conftest).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio

from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion_channels.engine.lanes import provider_factories
from clarion_channels.errortable import UNLISTED_PREFIX, load
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Provider
from clarion_channels.providers.twilio.receipts import read_form

from .h2_fault_world import World
from .practice_accounts import KINDS
from .provider_rows import ROWS, Answer, Row
from .push_messages import Reports
from .sandbox_door import Practice, practice

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWILIO_CALLBACKS = "/v1/callbacks/twilio/1"


class NoReceipts:
    """The sandbox reports on text messages; nobody waits for that here."""

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        return


class Accounts:
    """A provider for each kind, made when first asked for."""

    def __init__(self, door: Practice) -> None:
        self.door = door
        self._factories = provider_factories()
        self._made: dict[str, Provider] = {}

    async def of(self, name: str) -> Provider:
        if name not in self._made:
            callback = {"status_callback": self.door.receiver.url + TWILIO_CALLBACKS} if name == "twilio" else {}
            settings = KINDS[name].settings(self.door, **callback)
            self._made[name] = await self._factories[name].connect(settings, NoReceipts())
        return self._made[name]

    async def send(self, name: str, code: str) -> Result:
        """What the provider makes of the sandbox's answer with this code."""
        return await self.send_to(name, KINDS[name].reach(self.door, code))

    async def send_to(self, name: str, address: Address) -> Result:
        message = Message(
            delivery_id=uuid4(),
            address=address,
            content=KINDS[name].content(),
            priority=PRIORITY_NORMAL,
            expire_at=datetime.now(UTC) + timedelta(hours=1),
        )
        reports = Reports()
        provider = await self.of(name)
        async with asyncio.timeout(10):
            await provider.send([message], reports)
        return reports.only()

    async def close(self) -> None:
        await asyncio.gather(*(provider.close() for provider in self._made.values()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Accounts]:
    async with AsyncExitStack() as stack:
        made = Accounts(await stack.enter_async_context(practice(tmp_path_factory.mktemp("rows"))))
        stack.push_async_callback(made.close)
        yield made


def is_told_later(row: Row, answer: Answer) -> bool:
    """Twilio's 30xxx codes come with a status callback, after the message was taken."""
    return row.provider == "twilio" and answer.code[:1] in ("7", "8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_row_is_answered_over_the_wire_and_has_its_class(
    row: Row, accounts: Accounts, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    for answer in row.answers:
        if is_told_later(row, answer):
            continue
        if (row.provider, answer.code) == ("apns", "4031"):  # a younger token that is refused means a wrong clock
            make_old(monkeypatch)
        result = await accounts.send(row.provider, answer.code)

        assert result.outcome is answer.outcome, (answer.code, result)
        assert result.code.startswith(UNLISTED_PREFIX) is not answer.listed, (answer.code, result)
        if answer.wait is not None:
            assert result.retry_after == answer.wait, (answer.code, result)
    for answer in (one for one in row.answers if is_told_later(row, one)):
        assert await told_later(accounts, answer.code) is answer.outcome, answer.code
    record_property("table_row", [row.provider, len(row.answers)])


def make_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the provider token's age be one at which it may be renewed."""
    monkeypatch.setattr("clarion_channels.providers.apns.token.MIN_RENEWAL_SECONDS", 0)


async def told_later(accounts: Accounts, code: str) -> Outcome:
    """The class of what Twilio says of a message that it had taken."""
    sent = await accounts.send("twilio", code)
    assert sent.outcome is Outcome.ACCEPTED
    receiver = accounts.door.receiver
    async with asyncio.timeout(5), receiver.arrived:
        while True:
            calls = [dict(read_form(call.body)) for call in receiver.calls if call.path == TWILIO_CALLBACKS]
            for fields in calls:
                if fields["MessageSid"] == sent.provider_message_id and "ErrorCode" in fields:
                    return load("twilio").lookup(0, fields["ErrorCode"]).outcome
            await receiver.arrived.wait()


async def test_apns_rows_of_http2_itself_have_their_classes(
    accounts: Accounts, record_property: Callable[[str, object], None]
) -> None:
    world = World(accounts.door)
    provider = await world.apns()
    world.script({"fault": "reset", "code": "REFUSED_STREAM", "taken": False, "times": 1})
    refused = Reports()
    await provider.send(world.messages("apns", 1), refused)
    world.script({"fault": "goaway", "after": 0, "times": 1, "reason": "Shutdown"}, slow_ms=20)
    answered = Reports()
    await provider.send(world.messages("apns", 20), answered)
    await world.close()
    world.script()

    assert refused.counts() == {Outcome.RETRY: 1}
    assert set(answered.outcomes()) <= {Outcome.ACCEPTED, Outcome.RETRY}
    assert answered.counts()[Outcome.ACCEPTED] >= 1, "older streams wait for their answer"
    record_property("table_row", ["apns", 1])  # RST REFUSED_STREAM
    record_property("table_row", ["apns", 2])  # GOAWAY: streams above its last one, and those below


async def test_apns_says_since_when_a_device_is_gone(accounts: Accounts) -> None:
    long_ago = await accounts.send("apns", "4102")

    assert long_ago.dead_since == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


async def test_number_that_sent_stop_is_an_opt_out(accounts: Accounts) -> None:
    assert (await accounts.send("twilio", "110")).opted_out


@pytest.mark.parametrize(("kind", "code"), [("fcm", "4010"), ("huawei", "4010"), ("huawei", "4011")])
async def test_access_token_that_is_refused_once_is_replaced(accounts: Accounts, kind: str, code: str) -> None:
    unused = Accounts(accounts.door)  # whose access token nobody refused yet
    device = KINDS[kind].reach(accounts.door, code)
    device.android.token = device.android.token.replace(f"dead{code}00", f"dead{code}01")

    result = await unused.send_to(kind, device)

    await unused.close()
    assert result.outcome is Outcome.ACCEPTED


async def test_every_provider_of_ours_has_its_rows() -> None:
    installed = set(provider_factories())

    assert {row.provider for row in ROWS} == set(KINDS) == installed & set(KINDS)
