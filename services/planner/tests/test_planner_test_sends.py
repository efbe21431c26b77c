"""Test sends: what holds them back, and what does not."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
import pytest_asyncio

from clarion.category.v1 import category_service_pb2 as category_pb
from clarion.category.v1.category_service_pb2 import Category
from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.channel_pb2 import CHANNEL_SMS
from clarion.types.v1.time_pb2 import SendWindow
from clarion_kit.vocabulary import Channel, Gate, Reason
from clarion_ledger import admin
from clarion_ledger.keys import KeyRing
from clarion_planner.domain import ChannelFacts, Closed, Recipient
from clarion_planner.explaining import Explaining
from clarion_planner.ports import CapAnswer, ResolveQuery
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, address, literal, plant, templated

SMS = Channel.SMS


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    """A category with everything that holds back: caps of the recipient and of the app, dedupe, a digest, a send window that is
    never open now; everybody is in quiet hours."""
    made = await plant(database.pool, app)
    window, length = timedelta(days=1), timedelta(minutes=10)
    caps = [category_pb.Cap(limit=1), category_pb.Cap(limit=2, scope=category_pb.CAP_SCOPE_APP)]
    for cap in caps:
        cap.window.FromTimedelta(window)
    closed = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
    closes = (datetime.now(UTC) + timedelta(hours=13)).strftime("%H:%M")
    category = Category(
        name="strict", caps=caps, channels=[CHANNEL_SMS], send_window=SendWindow(opens=closed, closes=closes)
    )
    category.dedupe_window.FromTimedelta(window)
    category.digest_window.FromTimedelta(length)
    made.app.categories["strict"] = await admin.put_category(made.pool, app.app_id, category)
    await made.config.refresh()
    made.preferences.answer = quiet
    return made


def quiet(query: ResolveQuery) -> Recipient:
    until = datetime.now(UTC) + timedelta(minutes=20)
    facts = ChannelFacts(None, (address(query.recipient_ref, SMS),), until)
    return Recipient(query.recipient_ref, True, "ko-KR", "KR", {SMS: facts}, quiet_from=until)


def as_test(notification: Notification) -> Notification:
    notification.test = True
    return notification


async def test_nothing_of_the_recipients_time_or_caps_holds_it_back(p: Plant) -> None:
    [delivery] = await p.planned(as_test(literal(SMS)), category="strict")

    assert delivery.goes_now
    assert (delivery.ask_again_at, delivery.digest) == (None, None)


async def test_caps_of_the_whole_app_and_budgets_still_count_it(p: Plant) -> None:
    await p.planned(as_test(literal(SMS)), category="strict")

    [query] = p.caps.asked
    assert [cap.whole_app for cap in query.caps] == [True]
    assert query.dedupe is None
    assert len(p.budgets.charged) == 1


async def test_a_full_cap_of_the_app_stops_it(p: Plant) -> None:
    p.caps.answer = CapAnswer(False, rule="2 a day of the app")

    [delivery] = await p.planned(as_test(literal(SMS)), category="strict")

    assert delivery.reason is Reason.CAPPED


@pytest.mark.parametrize(
    "closed",
    [Closed(Gate.WISHES, Reason.CHANNEL_OFF, "off"), Closed(Gate.SUPPRESSION_LIST, Reason.SUPPRESSION_LIST, "bounce")],
)
async def test_wishes_and_suppression_hold_for_it(p: Plant, closed: Closed) -> None:
    p.preferences.answer = lambda query: Recipient(query.recipient_ref, True, channels={SMS: ChannelFacts(closed)})

    [delivery] = await p.planned(as_test(literal(SMS)), category="strict")

    assert delivery.reason is closed.reason


async def test_its_own_window_and_local_time_hold_for_it(p: Plant) -> None:
    notification = as_test(literal(SMS))
    local = datetime.now(UTC) + timedelta(minutes=30)
    notification.deliver_at_local = local.strftime("%Y-%m-%dT%H:%M")

    [delivery] = await p.planned(notification, category="strict")

    assert delivery.rest is not None
    assert delivery.rest.due_at == local.replace(second=0, microsecond=0)


async def test_a_template_for_digests_gets_its_digest_data_and_goes_alone(p: Plant) -> None:
    notification = as_test(templated(SMS))
    notification.digest_key = "post-7"

    [delivery] = await p.planned(notification, category="strict")

    assert delivery.digest is None
    [query] = p.templates.asked
    assert query.data.fields["digest"].struct_value.fields["count"].number_value == 1


async def test_explain_marks_it_and_says_what_was_passed_over(p: Plant) -> None:
    explaining = Explaining(p.pool, KeyRing(p.pool, p.app.keys._wrapper), p.config, p.rules, Random(7))
    notification = as_test(literal(SMS))
    notification.category = "strict"

    dry = await explaining.dry_run(p.app.app_id, notification)
    [id_] = await p.accept(notification, category="strict")
    await mark(p, id_)
    afterwards = await explaining.afterwards(p.app.app_id, id_)

    [one] = dry.explanations
    rules = {int(gate.gate): gate.rule for gate in one.gates}
    assert (rules[Gate.QUIET_HOURS], rules[Gate.CONTENT_DEDUPE], rules[Gate.CAPS]) == (
        "test send",
        "test send",
        "within 1 caps",
    )
    assert dry.test
    assert afterwards.test


async def mark(p: Plant, id_: UUID) -> None:
    await p.pool.execute("INSERT INTO ledger.test_send (notification_id, app_id) VALUES ($1, $2)", id_, p.app.app_id)
