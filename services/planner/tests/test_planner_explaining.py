"""Explain: what would become of a notification, and what became of one."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import pytest
import pytest_asyncio

from clarion.category.v1 import category_service_pb2 as category_pb
from clarion.category.v1.category_service_pb2 import Category
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion.types.v1.channel_pb2 import CHANNEL_SMS
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.vocabulary import Channel, DeliveryState, Gate, Reason
from clarion_ledger import admin
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import load, plan
from clarion_planner.domain import Recipient
from clarion_planner.explaining import Explaining
from clarion_planner.ports import CapAnswer
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, literal, plant

SMS, MAIL = Channel.SMS, Channel.EMAIL


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    made = await plant(database.pool, app)
    cap = category_pb.Cap(limit=3)
    cap.window.FromTimedelta(timedelta(days=1))
    made.app.categories["offers"] = await admin.put_category(
        made.pool, app.app_id, Category(name="offers", caps=[cap], channels=[CHANNEL_SMS])
    )
    await made.config.refresh()
    return made


def explaining(p: Plant) -> Explaining:
    return Explaining(p.pool, KeyRing(p.pool, p.app.keys._wrapper), p.config, p.rules, Random(7))


def of(*channels: Channel) -> pb.Notification:
    notification = literal(*channels)
    notification.category = "offers"
    return notification


def verdicts(one: pb.Explanation) -> dict[int, int]:
    return {gate.gate: gate.verdict for gate in one.gates}


async def test_dry_run_tells_every_gate_in_order_and_takes_nothing(p: Plant) -> None:
    answer = await explaining(p).dry_run(p.app.app_id, of(SMS))

    [one] = answer.explanations
    assert [int(gate.gate) for gate in one.gates] == list(Gate)
    assert set(verdicts(one).values()) == {state_pb2.VERDICT_PASS}
    assert (one.recipient_id, int(one.channel), int(one.state), one.provider) == (
        "ann",
        SMS,
        DeliveryState.READY,
        "sms",
    )
    assert one.content.sms.text == "Order 7"
    assert [(route.provider, route.chosen) for route in one.routes] == [("sms", True)]
    assert (p.caps.asked, len(p.caps.peeked), p.budgets.charged) == ([], 1, [])
    assert await p.pool.fetchval("SELECT count(*) FROM ledger.delivery WHERE app_id = $1", p.app.app_id) == 0


async def test_dry_run_tells_the_gate_that_closed_and_those_behind_it_unreached(p: Plant) -> None:
    p.caps.answer = CapAnswer(False, rule="3 a day")

    answer = await explaining(p).dry_run(p.app.app_id, of(SMS, MAIL))

    by_channel = {int(one.channel): one for one in answer.explanations}
    capped, stopped = by_channel[SMS], by_channel[MAIL]
    assert (int(capped.state), int(capped.reason)) == (DeliveryState.SUPPRESSED, Reason.CAPPED)
    assert (capped.gates[-1].verdict, capped.gates[-1].rule) == (state_pb2.VERDICT_SUPPRESS, "3 a day")
    assert int(stopped.reason) == Reason.CATEGORY_DISABLED
    assert verdicts(stopped)[Gate.CATEGORY] == state_pb2.VERDICT_SUPPRESS
    assert {verdicts(stopped)[gate] for gate in Gate if gate > Gate.CATEGORY} == {state_pb2.VERDICT_UNSPECIFIED}


async def test_dry_run_for_somebody_unknown_says_so(p: Plant) -> None:
    p.preferences.answer = lambda query: Recipient(query.recipient_ref, found=False)

    answer = await explaining(p).dry_run(p.app.app_id, of(SMS))

    assert [int(one.reason) for one in answer.explanations] == [Reason.RECIPIENT_UNKNOWN]


async def test_dry_run_of_an_unknown_category_is_refused(p: Plant) -> None:
    notification = of(SMS)
    notification.category = "nothing"

    with pytest.raises(DomainError) as refused:
        await explaining(p).dry_run(p.app.app_id, notification)

    assert refused.value.reason is ErrorReason.CATEGORY_NOT_FOUND


async def test_afterwards_the_stored_gates_and_content_are_told(p: Plant) -> None:
    [notification_id] = await p.accept(of(SMS, MAIL), category="offers")
    await plan(p.pool, await p.rules.plans(await load(p.pool, [notification_id])))

    answer = await explaining(p).afterwards(p.app.app_id, notification_id)

    by_channel = {int(one.channel): one for one in answer.explanations}
    assert (int(by_channel[SMS].state), by_channel[SMS].recipient_id) == (DeliveryState.ENQUEUED, "ann")
    assert by_channel[SMS].content.sms.text == "Order 7"
    assert int(by_channel[MAIL].reason) == Reason.CATEGORY_DISABLED


async def test_afterwards_a_deferral_at_the_send_is_told_with_its_rule_and_time(p: Plant) -> None:
    [notification_id] = await p.accept(of(SMS), category="offers")
    plans = await p.rules.plans(await load(p.pool, [notification_id]))
    await plan(p.pool, plans)
    [claimed] = await claim(p.pool, [plans[0].deliveries[0].delivery_id], timedelta(seconds=30))
    deferred = Record(
        claimed,
        DeliveryState.DEFERRED,
        Reason.QUIET_HOURS,
        code="quiet until 07:00",
        delay=timedelta(hours=8),
        tried=False,
    )
    await record(p.pool, [deferred])

    [one] = (await explaining(p).afterwards(p.app.app_id, notification_id)).explanations

    quiet = next(gate for gate in one.gates if int(gate.gate) == Gate.QUIET_HOURS)
    assert (quiet.verdict, quiet.rule) == (state_pb2.VERDICT_DEFER, "quiet until 07:00")
    assert (int(one.state), int(one.reason)) == (DeliveryState.DEFERRED, Reason.QUIET_HOURS)
    assert one.due_at.ToDatetime(tzinfo=UTC) > datetime.now(UTC) + timedelta(hours=7)


async def test_notification_of_another_app_is_not_found(p: Plant) -> None:
    [notification_id] = await p.accept(of(SMS), category="offers")

    for app_id, id_ in ((p.app.app_id + 1, notification_id), (p.app.app_id, uuid4())):
        with pytest.raises(DomainError) as refused:
            await explaining(p).afterwards(app_id, id_)
        assert refused.value.reason is ErrorReason.NOTIFICATION_NOT_FOUND
