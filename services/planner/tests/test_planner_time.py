"""Quiet hours, caps that defer, escalations and digests, as they are planned."""

from datetime import UTC, datetime, timedelta

import pytest_asyncio

from clarion.category.v1 import category_service_pb2 as category_pb
from clarion.category.v1.category_service_pb2 import Category
from clarion.notification.v1 import state_pb2
from clarion.notification.v1.notification_service_pb2 import ChannelMode, ChannelPolicy, Notification
from clarion.notification.v1.state_pb2 import GateTrail
from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger import admin
from clarion_ledger.planning import PlannedDelivery
from clarion_planner.domain import ChannelFacts, Recipient
from clarion_planner.ports import CapAnswer, ResolveQuery
from clarion_testkit.plugin import App, Database

from .planner_samples import LITERAL, Plant, address, literal, plant

IOS, SMS, MAIL = Channel.IOS, Channel.SMS, Channel.EMAIL
MORNING = datetime.now(UTC) + timedelta(minutes=20)
DEFER = category_pb.GATE_ACTION_DEFER


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    return await plant(database.pool, app)


async def put(p: Plant, category: Category) -> str:
    p.app.categories[category.name] = await admin.put_category(p.pool, p.app.app_id, category)
    await p.config.refresh()
    return category.name


def hushed(p: Plant, until: datetime, *, next_time: datetime | None = None) -> None:
    """Everybody is in quiet hours."""

    def answer(query: ResolveQuery) -> Recipient:
        channels = {
            channel: ChannelFacts(None, (address(query.recipient_ref, channel),), until) for channel in query.channels
        }
        return Recipient(query.recipient_ref, True, "ko-KR", "KR", channels, quiet_from=next_time)

    p.preferences.answer = answer


def escalation(*channels: Channel, after: timedelta = timedelta(minutes=5), digest_key: str = "") -> Notification:
    policy = ChannelPolicy(mode=ChannelMode.CHANNEL_MODE_ESCALATE, channels=[int(c) for c in channels])  # type: ignore[misc]
    policy.escalate_after.FromTimedelta(after)
    return Notification(recipient_ids=["ann"], content=LITERAL, channel_policy=policy, digest_key=digest_key)


def rests(deliveries: list[PlannedDelivery]) -> dict[Channel, DeliveryState | None]:
    return {delivery.channel: delivery.rest.state if delivery.rest else None for delivery in deliveries}


async def test_quiet_hours_suppress_where_the_category_drops(p: Plant) -> None:
    name = await put(p, Category(name="offers"))
    hushed(p, MORNING)

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.reason is Reason.QUIET_HOURS
    record = GateTrail.FromString(delivery.gates).records[0]
    assert (record.gate, record.verdict) == (state_pb2.GATE_QUIET_HOURS, state_pb2.VERDICT_SUPPRESS)
    assert "quiet until" in record.rule


async def test_quiet_hours_defer_to_their_end_and_cost_no_cap(p: Plant) -> None:
    cap = category_pb.Cap(limit=1)
    cap.window.FromTimedelta(timedelta(days=1))
    name = await put(p, Category(name="offers", quiet_hours_action=DEFER, caps=[cap]))
    hushed(p, MORNING)

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.reason is None
    assert delivery.rest is not None
    assert delivery.rest.state is DeliveryState.DEFERRED
    assert delivery.rest.due_at is not None
    assert MORNING <= delivery.rest.due_at <= MORNING + timedelta(minutes=1)
    assert not delivery.goes_now
    assert p.caps.asked == []
    gates = GateTrail.FromString(delivery.gates)
    assert gates.passed_up_to == state_pb2.GATE_ROUTE
    assert [(record.gate, record.verdict) for record in gates.records] == [
        (state_pb2.GATE_QUIET_HOURS, state_pb2.VERDICT_DEFER)
    ]


async def test_quiet_hours_past_the_deadline_suppress_and_say_so(p: Plant) -> None:
    name = await put(p, Category(name="offers", quiet_hours_action=DEFER))
    hushed(p, datetime.now(UTC) + timedelta(hours=8))

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.reason is Reason.DEFERRED_TOO_LONG


async def test_critical_category_ignores_quiet_hours(p: Plant) -> None:
    name = await put(p, Category(name="alarm", critical=True))
    hushed(p, MORNING, next_time=MORNING)

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.goes_now
    assert delivery.ask_again_at is None


async def test_plan_keeps_when_the_next_quiet_hours_begin(p: Plant) -> None:
    tonight = MORNING + timedelta(hours=14)
    hushed(p, datetime(2020, 1, 1, tzinfo=UTC), next_time=tonight)

    [delivery] = await p.planned(literal(SMS))

    assert delivery.goes_now
    assert delivery.ask_again_at == tonight


async def test_cap_that_defers_rests_until_the_window_has_room(p: Plant) -> None:
    name = await put(p, Category(name="offers", cap_action=DEFER, caps=[_cap()]))
    p.caps.answer = CapAnswer(False, rule="3 a day", retry_after=timedelta(minutes=30))

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.rest is not None
    assert delivery.rest.state is DeliveryState.DEFERRED
    assert timedelta(minutes=30) <= delivery.rest.delay <= timedelta(minutes=31)
    assert (delivery.rest.reason, delivery.rest.code) == (Reason.CAPPED, "3 a day")
    record = GateTrail.FromString(delivery.gates).records[0]
    assert (record.gate, record.verdict, record.rule) == (state_pb2.GATE_CAPS, state_pb2.VERDICT_DEFER, "3 a day")


async def test_cap_with_room_only_past_the_deadline_suppresses(p: Plant) -> None:
    name = await put(p, Category(name="offers", cap_action=DEFER, caps=[_cap()]))
    p.caps.answer = CapAnswer(False, rule="3 a day", retry_after=timedelta(hours=3))

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.reason is Reason.DEFERRED_TOO_LONG


async def test_same_content_within_the_window_is_suppressed_as_a_duplicate(p: Plant) -> None:
    category = Category(name="noisy")
    category.dedupe_window.FromTimedelta(timedelta(minutes=10))
    name = await put(p, category)
    [first] = await p.planned(literal(SMS), category=name)
    p.caps.answer = CapAnswer(False, rule="same content within 0:10:00", duplicate=True)

    [second] = await p.planned(literal(SMS), category=name)

    assert (first.reason, second.reason) == (None, Reason.DUPLICATE_CONTENT)
    assert GateTrail.FromString(second.gates).records[0].gate == state_pb2.GATE_CONTENT_DEDUPE
    asked = [query.dedupe for query in p.caps.asked]
    assert asked[0] == asked[1]
    assert asked[0] is not None


async def test_rule_on_trial_and_one_nearly_used_up_stand_in_the_gate_record(p: Plant) -> None:
    name = await put(p, Category(name="offers", caps=[_cap()]))
    p.caps.answer = CapAnswer(True, shadow="1 a day", near="3 a day")

    [delivery] = await p.planned(literal(SMS), category=name)

    assert delivery.goes_now
    assert [(record.verdict, record.rule) for record in GateTrail.FromString(delivery.gates).records] == [
        (state_pb2.VERDICT_SHADOW, "1 a day"),
        (state_pb2.VERDICT_PASS, "near: 3 a day"),
    ]


async def test_first_step_of_an_escalation_goes_and_the_others_wait_in_order(p: Plant) -> None:
    deliveries = await p.planned(escalation(SMS, IOS, MAIL))

    assert rests(deliveries) == {SMS: None, IOS: DeliveryState.WAITING, MAIL: DeliveryState.WAITING}
    assert {d.channel: d.escalation.step for d in deliveries if d.escalation} == {SMS: 0, IOS: 1, MAIL: 2}
    assert {d.channel: d.rest.delay for d in deliveries if d.rest} == {
        IOS: timedelta(minutes=5),
        MAIL: timedelta(minutes=10),
    }


async def test_caps_are_asked_for_the_first_step_alone(p: Plant) -> None:
    name = await put(p, Category(name="offers", caps=[_cap()]))

    await p.planned(escalation(IOS, MAIL), category=name)

    assert [query.channel for query in p.caps.asked] == [IOS]


async def test_first_step_over_its_cap_gives_its_place_to_the_next_at_once(p: Plant) -> None:
    name = await put(p, Category(name="offers", caps=[_cap()]))
    p.caps.answer = CapAnswer(False, rule="3 a day")

    deliveries = await p.planned(escalation(IOS, MAIL, SMS), category=name)

    by_channel = {delivery.channel: delivery for delivery in deliveries}
    assert by_channel[IOS].reason is Reason.CAPPED
    delays = {d.channel: d.rest.delay for d in deliveries if d.rest}
    assert delays == {MAIL: timedelta(0), SMS: timedelta(minutes=5)}


async def test_steps_count_from_the_end_of_the_quiet_hours_that_defer_the_first(p: Plant) -> None:
    name = await put(p, Category(name="offers", quiet_hours_action=DEFER))
    hushed(p, MORNING)

    deliveries = await p.planned(escalation(IOS, MAIL), category=name)

    first, second = (d.rest for d in sorted(deliveries, key=lambda d: d.channel))
    assert first is not None
    assert second is not None
    assert (first.state, second.state) == (DeliveryState.DEFERRED, DeliveryState.WAITING)
    assert first.due_at is not None
    assert second.due_at == first.due_at + timedelta(minutes=5)


async def test_channel_order_of_the_recipient_decides_where_the_client_named_none(p: Plant) -> None:
    usual = p.preferences.answer

    def mail_first(query: ResolveQuery) -> Recipient:
        found = usual(query)
        return Recipient(found.ref, True, found.locale, found.country, found.channels, channel_order=(MAIL, SMS))

    p.preferences.answer = mail_first

    deliveries = await p.planned(escalation())

    assert {d.escalation.step: d.channel for d in deliveries if d.escalation and d.escalation.step < 2} == {
        0: MAIL,
        1: SMS,
    }


async def test_member_of_a_digest_waits_and_costs_no_cap(p: Plant) -> None:
    category = Category(name="likes", caps=[_cap()])
    category.digest_window.FromTimedelta(timedelta(minutes=10))
    name = await put(p, category)
    notification = literal(IOS)
    notification.digest_key = "post-7"

    [delivery] = await p.planned(notification, category=name)

    assert delivery.digest is not None
    assert (delivery.digest.key, delivery.digest.length) == ("post-7", timedelta(minutes=10))
    assert not delivery.goes_now
    assert p.caps.asked == []


async def test_time_of_the_sender_and_quiet_hours_the_later_holds(p: Plant) -> None:
    later = MORNING + timedelta(minutes=10)
    name = await put(p, Category(name="offers", quiet_hours_action=DEFER))
    hushed(p, MORNING)
    [source] = await p.sources(literal(SMS), category=name)
    rules = p.rules
    job = await rules.job(source, literal(SMS), await p.app.keys.sealer(p.app.app_id))
    job = job._replace(not_before=lambda zone, now: later)

    [plan] = await rules.plan_jobs([job])

    [delivery] = plan.deliveries
    assert delivery.rest is not None
    assert delivery.rest.due_at == later


def _cap() -> category_pb.Cap:
    cap = category_pb.Cap(limit=3)
    cap.window.FromTimedelta(timedelta(days=1))
    return cap
