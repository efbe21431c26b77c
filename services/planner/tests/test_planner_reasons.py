"""Whatever ends or defers a delivery is named in its timeline and in Explain: every reason of the vocabulary."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
import pytest_asyncio

from clarion.category.v1 import category_service_pb2 as category_pb
from clarion.category.v1.category_service_pb2 import Category
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL
from clarion.types.v1.content_pb2 import Content as ProtoContent
from clarion.types.v1.content_pb2 import PushContent
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Gate, Reason, Verdict
from clarion_ledger import admin, reading
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, load, plan
from clarion_planner.digesting import Digests
from clarion_planner.domain import ChannelFacts, Closed, Content, Recipient
from clarion_planner.explaining import Explaining
from clarion_planner.ports import CapAnswer, RenderedTemplate, ResolveQuery
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, address, literal, plant, templated

IOS, SMS, MAIL = Channel.IOS, Channel.SMS, Channel.EMAIL
SOON = timedelta(minutes=20)


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    """All accounts but one for browsers."""
    return await plant(database.pool, app, [channel for channel in Channel if channel is not Channel.WEB])


@dataclass
class Cause:
    """What is sent and in which category, once `arrange` has made the world so."""

    gate: Gate
    notification: Callable[[], pb.Notification] = lambda: literal(SMS)
    arrange: Callable[[Plant], Awaitable[None] | None] = lambda p: None
    category: Category = field(default_factory=lambda: Category(name="offers"))


def says(gate: Gate, reason: Reason) -> Cause:
    """The preference service closes a gate."""

    def arrange(p: Plant) -> None:
        closed = ChannelFacts(Closed(gate, reason, "as it says"))
        p.preferences.answer = lambda query: Recipient(query.recipient_ref, True, channels={SMS: closed})

    return Cause(gate, arrange=arrange)


def hushed(p: Plant, lasts: timedelta = SOON) -> None:
    def answer(query: ResolveQuery) -> Recipient:
        facts = ChannelFacts(None, (address(query.recipient_ref, SMS),), datetime.now(UTC) + lasts)
        return Recipient(query.recipient_ref, True, channels={SMS: facts})

    p.preferences.answer = answer


def unknown(p: Plant) -> None:
    p.preferences.answer = lambda query: Recipient(query.recipient_ref, found=False)


def foreign(p: Plant) -> None:
    def answer(query: ResolveQuery) -> Recipient:
        facts = ChannelFacts(None, (address(query.recipient_ref, SMS),))
        return Recipient(query.recipient_ref, True, country="US", channels={SMS: facts})

    p.preferences.answer = answer


async def switched_off(p: Plant) -> None:
    await p.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", p.app.app_id)


async def at_home_alone(p: Plant) -> None:
    name = await p.pool.fetchval("SELECT name FROM ledger.app WHERE app_id = $1", p.app.app_id)
    await admin.update_app(p.pool, name, sms_countries=["KR"])
    foreign(p)


def capped(**answer: object) -> Callable[[Plant], None]:
    def arrange(p: Plant) -> None:
        p.caps.answer = CapAnswer(False, rule="3 a day", retry_after=SOON, **answer)  # type: ignore[arg-type]

    return arrange


def with_cap(*, defers: bool = False) -> Category:
    cap = category_pb.Cap(limit=3)
    cap.window.FromTimedelta(timedelta(days=1))
    return Category(name="offers", caps=[cap], cap_action=category_pb.GATE_ACTION_DEFER if defers else 0)  # type: ignore[arg-type]


def fails(p: Plant) -> None:
    p.templates.answer = lambda query: RenderedTemplate(4, {SMS: Content(failure="MISSING_VARIABLE: name")})


def huge() -> pb.Notification:
    return literal(IOS, content=ProtoContent(push=PushContent(title="t", body="x" * 3_900, data={"k": "v" * 400})))


def later() -> pb.Notification:
    notification = literal(SMS)
    notification.deliver_at_local = (datetime.now(UTC) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M")
    return notification


QUIET_DEFERS = Category(name="offers", quiet_hours_action=category_pb.GATE_ACTION_DEFER)
MAIL_ALONE = Category(name="offers", channels=[CHANNEL_EMAIL])
SUPPRESSED = {
    Reason.APP_DISABLED: Cause(Gate.APP, arrange=switched_off),
    Reason.CATEGORY_DISABLED: Cause(Gate.CATEGORY, category=MAIL_ALONE),
    Reason.RECIPIENT_UNKNOWN: Cause(Gate.ADDRESS, arrange=unknown),
    Reason.NO_ADDRESS: says(Gate.ADDRESS, Reason.NO_ADDRESS),
    Reason.SUPPRESSION_LIST: says(Gate.SUPPRESSION_LIST, Reason.SUPPRESSION_LIST),
    Reason.OPTED_OUT: says(Gate.WISHES, Reason.OPTED_OUT),
    Reason.CHANNEL_OFF: says(Gate.WISHES, Reason.CHANNEL_OFF),
    Reason.CATEGORY_OFF: says(Gate.WISHES, Reason.CATEGORY_OFF),
    Reason.QUIET_HOURS: Cause(Gate.QUIET_HOURS, arrange=hushed),
    Reason.DUPLICATE_CONTENT: Cause(Gate.CONTENT_DEDUPE, arrange=capped(duplicate=True), category=with_cap()),
    Reason.NO_CONTENT: Cause(Gate.RENDER, lambda: literal(SMS, content=ProtoContent(push=PushContent(title="t")))),
    Reason.RENDER_FAILED: Cause(Gate.RENDER, lambda: templated(SMS), fails),
    Reason.NO_ROUTE: Cause(Gate.ROUTE, lambda: literal(Channel.WEB)),
    Reason.CAPPED: Cause(Gate.CAPS, arrange=capped(), category=with_cap()),
    Reason.CHANNEL_NOT_CHOSEN: Cause(Gate.ADDRESS, lambda: literal(IOS, SMS, first_only=True)),
    Reason.TOO_LARGE: Cause(Gate.RENDER, huge),
    Reason.DEFERRED_TOO_LONG: Cause(
        Gate.QUIET_HOURS, arrange=lambda p: hushed(p, timedelta(days=2)), category=QUIET_DEFERS
    ),
    Reason.COUNTRY_NOT_ALLOWED: Cause(Gate.ROUTE, arrange=at_home_alone),
}
DEFERRED = {
    Reason.QUIET_HOURS: Cause(Gate.QUIET_HOURS, arrange=hushed, category=QUIET_DEFERS),
    Reason.CAPPED: Cause(Gate.CAPS, arrange=capped(), category=with_cap(defers=True)),
    Reason.NOT_YET_DUE: Cause(Gate.QUIET_HOURS, later),
}
ENDED_LATER = {
    Reason.REFUSED: DeliveryState.FAILED,
    Reason.ADDRESS_DEAD: DeliveryState.FAILED,
    Reason.AMBIGUOUS: DeliveryState.FAILED,
    Reason.OPTED_OUT_AT_PROVIDER: DeliveryState.FAILED,
    Reason.DEADLINE_PASSED: DeliveryState.EXPIRED,
    Reason.CANCELLED_BY_APP: DeliveryState.CANCELLED,
    Reason.NOT_NEEDED: DeliveryState.CANCELLED,
    Reason.WISH_CHANGED: DeliveryState.CANCELLED,
    Reason.ERASED: DeliveryState.CANCELLED,
    Reason.ADDRESS_GONE: DeliveryState.CANCELLED,
    Reason.RETRIES_EXHAUSTED: DeliveryState.DEAD_LETTERED,
    Reason.POISON: DeliveryState.DEAD_LETTERED,
    Reason.HELD_TOO_LONG: DeliveryState.DEAD_LETTERED,
    Reason.PROVIDER_DELETED: DeliveryState.DEAD_LETTERED,
}
"""What dispatchers and schedulers write."""
DECIDED_AGAIN = {
    Reason.APP_DISABLED: Gate.APP,
    Reason.QUIET_HOURS: Gate.QUIET_HOURS,
    Reason.CAPPED: Gate.CAPS,
    Reason.WISH_CHANGED: Gate.WISHES,
    Reason.ERASED: Gate.ADDRESS,
    Reason.ADDRESS_GONE: Gate.ADDRESS,
}
"""What the gates say that are asked again at the send."""


def test_no_reason_of_the_vocabulary_is_left_out() -> None:
    assert {*SUPPRESSED, *DEFERRED, *ENDED_LATER, Reason.MERGED} == set(Reason)


async def planned_for(p: Plant, cause: Cause) -> UUID:
    """Planned and stored; gives the notification."""
    p.app.categories["offers"] = await admin.put_category(p.pool, p.app.app_id, cause.category)
    arranged = cause.arrange(p)
    if arranged is not None:
        await arranged
    await p.config.refresh()
    [id_] = await p.accept(cause.notification(), category="offers")
    await plan(p.pool, await p.rules.plans(await load(p.pool, [id_])))
    return id_


@dataclass(frozen=True)
class Told:
    """What is told of one delivery: the reasons in its timeline by event, its explanation, its gates by reason."""

    timeline: dict[EventKind, Reason | None]
    explanation: pb.Explanation

    def gates(self, verdict: Verdict) -> dict[int, int]:
        return {int(gate.reason): int(gate.gate) for gate in self.explanation.gates if int(gate.verdict) == verdict}


async def told(p: Plant, notification_id: UUID) -> dict[Reason | None, Told]:
    """By the reason that Explain gives."""
    whole = await reading.whole(p.pool, p.app.app_id, notification_id)
    assert whole is not None
    explaining = Explaining(p.pool, KeyRing(p.pool, p.app.keys._wrapper), p.config, p.rules, Random(7))
    answer = await explaining.afterwards(p.app.app_id, notification_id)
    return {
        Reason(one.reason) if one.reason else None: Told(
            {event.kind: event.reason for event in whole.timeline if str(event.delivery_id) == one.delivery_id}, one
        )
        for one in answer.explanations
    }


@pytest.mark.parametrize("reason", SUPPRESSED, ids=lambda reason: reason.name)
async def test_what_is_suppressed_by_a_plan_names_why(p: Plant, reason: Reason) -> None:
    notification_id = await planned_for(p, SUPPRESSED[reason])

    one = (await told(p, notification_id))[reason]

    assert one.timeline == {EventKind.TERMINAL: reason}
    assert int(one.explanation.state) == DeliveryState.SUPPRESSED
    assert one.gates(Verdict.SUPPRESS) == {reason: SUPPRESSED[reason].gate}


@pytest.mark.parametrize("reason", DEFERRED, ids=lambda reason: reason.name)
async def test_what_is_deferred_by_a_plan_names_why_and_until_when(p: Plant, reason: Reason) -> None:
    notification_id = await planned_for(p, DEFERRED[reason])

    one = (await told(p, notification_id))[reason]

    assert one.timeline == {EventKind.DEFERRED: reason}
    assert int(one.explanation.state) == DeliveryState.DEFERRED
    assert one.explanation.HasField("due_at")
    assert one.gates(Verdict.DEFER) == {reason: DEFERRED[reason].gate}


async def ended(p: Plant, state: DeliveryState, reason: Reason) -> Told:
    """Planned to go at once, and then this became of it."""
    [id_] = await p.accept(literal(SMS))
    plans: list[Plan] = await p.rules.plans(await load(p.pool, [id_]))
    await plan(p.pool, plans)
    [claimed] = await claim(p.pool, [plans[0].deliveries[0].delivery_id], timedelta(seconds=30))
    await record(p.pool, [Record(claimed, state, reason, code="why", tried=False, delay=timedelta(hours=1))])
    return (await told(p, id_))[reason]


@pytest.mark.parametrize("reason", ENDED_LATER, ids=lambda reason: reason.name)
async def test_what_ends_after_its_plan_names_why(p: Plant, reason: Reason) -> None:
    one = await ended(p, ENDED_LATER[reason], reason)

    assert one.timeline == {EventKind.TERMINAL: reason}
    assert int(one.explanation.state) == ENDED_LATER[reason]


@pytest.mark.parametrize("state", [DeliveryState.SUPPRESSED, DeliveryState.DEFERRED], ids=lambda state: state.name)
@pytest.mark.parametrize("reason", DECIDED_AGAIN, ids=lambda reason: reason.name)
async def test_what_a_gate_decides_at_the_send_is_told_at_that_gate(
    p: Plant, reason: Reason, state: DeliveryState
) -> None:
    one = await ended(p, state, reason)

    kind, verdict = EventKind.TERMINAL, Verdict.SUPPRESS
    if state is DeliveryState.DEFERRED:
        kind, verdict = EventKind.DEFERRED, Verdict.DEFER
    assert one.timeline == {kind: reason}
    assert one.gates(verdict) == {reason: DECIDED_AGAIN[reason]}


async def test_member_of_a_digest_names_what_it_was_merged_into(p: Plant) -> None:
    category = Category(name="offers")
    category.digest_window.FromTimedelta(timedelta(minutes=10))

    def like() -> pb.Notification:
        notification = literal(SMS)
        notification.digest_key = "post-7"
        return notification

    first, second = [await planned_for(p, Cause(Gate.CAPS, like, category=category)) for _ in range(2)]
    await p.pool.execute(
        "UPDATE ledger.digest SET due_at = now() - interval '1 second' WHERE app_id = $1", p.app.app_id
    )
    await Digests(p.pool, KeyRing(p.pool, p.app.keys._wrapper), p.config, p.templates, None).close_due()

    one = (await told(p, first))[Reason.MERGED]

    [carrier] = (await told(p, second)).values()
    assert one.timeline[EventKind.TERMINAL] is Reason.MERGED
    assert one.gates(Verdict.SUPPRESS) == {Reason.MERGED: Gate.CONTENT_DEDUPE}
    [rule] = [gate.rule for gate in one.explanation.gates if int(gate.reason) == Reason.MERGED]
    assert rule == f"into {carrier.explanation.delivery_id}"
