"""The audit finds nothing in a sound ledger, and every seeded corruption in a broken one."""

from datetime import UTC, datetime, timedelta

import pytest

from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.accept import accept
from clarion_ledger.audit import Auditor, audit
from clarion_ledger.audit_checks import CHECKS
from clarion_ledger.cancelling import cancel
from clarion_ledger.db import Pool
from clarion_ledger.digests import claim_due
from clarion_ledger.dispatching import Record, record
from clarion_ledger.ids import timestamp_ms
from clarion_ledger.planning import expire
from clarion_testkit.plugin import App, Database

from .broadcast_samples import PROVED_WITH_BROADCASTS
from .ledger_samples import (
    accepted,
    audited,
    close_digest,
    delivered,
    failed_for_now,
    item,
    leased,
    member,
    planned,
    window_ends,
)


async def a_bit_of_everything(pool: Pool, app: App) -> None:
    """Notifications and deliveries in every state that the ledger's own statements can bring about."""
    later = datetime.now(UTC) + timedelta(hours=1)
    results = await accept(
        pool,
        [
            item(app, "waiting"),
            item(app, "resting", enqueue=False),
            item(app, "cancelled"),
            item(app, "expired"),
            item(app, "scheduled", deliver_at=later),
            item(app, "scheduled and cancelled", deliver_at=later),
        ],
    )
    _, _, cancelled, ended, _, unscheduled = (accepted(result).notification_id for result in results)
    await cancel(pool, app.app_id, cancelled)
    await expire(pool, [ended])
    await cancel(pool, app.app_id, unscheduled)
    await delivered(pool, app, suppressed=2)
    await planned(pool, app)
    await planned(pool, app, enqueue=False)
    await leased(pool, app)
    retry = await leased(pool, app)
    await record(pool, [failed_for_now(retry, timedelta(hours=1))])
    refused = await leased(pool, app)
    failure = Record(
        refused, DeliveryState.FAILED, Reason.REFUSED, outcome=2, code="400", duration=timedelta(milliseconds=1)
    )
    await record(pool, [failure])
    exhausted = await leased(pool, app)
    await record(pool, [Record(exhausted, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED)])
    await member(pool, app, "closed")
    newest, _ = await member(pool, app, "closed")
    await window_ends(pool)
    [window] = await claim_due(pool, 1, timedelta(seconds=10))
    assert await close_digest(pool, window)
    await cancel(pool, app.app_id, newest)
    await member(pool, app, "open")


async def test_sound_ledger_has_nothing_unaccounted(database: Database, app: App) -> None:
    await a_bit_of_everything(database.pool, app)

    found = await audited(database.pool)

    assert found.findings == {}
    assert (found.unaccounted, found.stuck) == (0, 0)
    assert (found.accepted, found.scheduled) == (15, 1)
    assert found.states == {
        DeliveryState.READY: 1,
        DeliveryState.ENQUEUED: 1,
        DeliveryState.LEASED: 1,
        DeliveryState.RETRY_WAIT: 1,
        DeliveryState.SENT: 1,
        DeliveryState.FAILED: 1,
        DeliveryState.WAITING: 1,
        DeliveryState.SUPPRESSED: 3,
        DeliveryState.CANCELLED: 1,
        DeliveryState.DEAD_LETTERED: 1,
    }
    assert (found.deliveries, found.in_flight) == (12, 6)


SENT = "(SELECT id FROM ledger.delivery WHERE state = 20)"
SUPPRESSED = "(SELECT id FROM ledger.delivery WHERE state = 22 AND merged_into IS NULL LIMIT 1)"
ENQUEUED = "(SELECT delivery_id FROM ledger.delivery_work WHERE state = 2)"
LEASED = "(SELECT delivery_id FROM ledger.delivery_work WHERE state = 3)"
READY = "(SELECT delivery_id FROM ledger.delivery_work WHERE state = 1)"
WAITING = "(SELECT id FROM ledger.notification WHERE event_id = 'waiting')"
RESTING = "(SELECT id FROM ledger.notification WHERE event_id = 'resting')"

CORRUPTIONS = {
    "redrive of no dead letter": (
        f"UPDATE ledger.delivery SET redrive_of = uuidv7() WHERE id = {SENT}",
        {"planned_count_differs", "redrive_without_letter"},
    ),
    "sent delivery deleted": (f"DELETE FROM ledger.delivery WHERE id = {SENT}", {"planned_count_differs"}),
    "delivery in flight deleted": (
        f"DELETE FROM ledger.delivery WHERE id = {ENQUEUED}",
        {"planned_count_differs", "work_without_delivery_in_flight"},
    ),
    "delivery doubled": (
        f"""INSERT INTO ledger.delivery (id, notification_id, recipient_ref, app_id, category_id, channel, priority, state)
            SELECT uuidv7(), notification_id, recipient_ref, app_id, category_id, channel, priority, 2
            FROM ledger.delivery WHERE id = {SENT}""",
        {"planned_count_differs", "delivery_in_flight_without_work"},
    ),
    "work deleted": (
        f"DELETE FROM ledger.delivery_work WHERE delivery_id = {ENQUEUED}",
        {"delivery_in_flight_without_work"},
    ),
    "work of an ended delivery": (
        f"""INSERT INTO ledger.delivery_work (enqueued_at, expire_at, delivery_id, notification_id, recipient_ref, app_id,
                lane_id, channel, priority, state, max_attempts, at_most_once)
            SELECT now(), now(), id, notification_id, recipient_ref, app_id, lane_id, channel, priority, 2, 3, false
            FROM ledger.delivery WHERE id = {SENT}""",
        {"work_without_delivery_in_flight"},
    ),
    "terminal event deleted": (
        f"DELETE FROM ledger.event WHERE kind = 5 AND delivery_id = {SENT}",
        {"terminal_event_differs"},
    ),
    "terminal event doubled": (
        f"""INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind, state, reason)
            SELECT notification_id, delivery_id, app_id, kind, state, reason
            FROM ledger.event WHERE kind = 5 AND delivery_id = {SENT}""",
        {"terminal_event_differs"},
    ),
    "sent turned into failed": (
        f"UPDATE ledger.delivery SET state = 21 WHERE id = {SENT}",
        {"terminal_event_contradicts", "accepted_attempt_of_unsent"},
    ),
    "failed turned into sent": (
        "UPDATE ledger.delivery SET state = 20 WHERE state = 21",
        {"terminal_event_contradicts", "sent_without_attempt"},
    ),
    "sent turned back into enqueued": (
        f"UPDATE ledger.delivery SET state = 2 WHERE id = {SENT}",
        {"delivery_in_flight_without_work", "terminal_event_differs", "terminal_event_contradicts"},
    ),
    "enqueued turned into sent": (
        f"UPDATE ledger.delivery SET state = 20 WHERE id = {ENQUEUED}",
        {"work_without_delivery_in_flight", "terminal_event_differs", "sent_without_attempt"},
    ),
    "reason changed": (
        f"UPDATE ledger.delivery SET reason = 5 WHERE id = {SUPPRESSED}",
        {"terminal_event_contradicts"},
    ),
    "reason of the event changed": (
        f"UPDATE ledger.event SET reason = 5 WHERE delivery_id = {SUPPRESSED}",
        {"terminal_event_contradicts"},
    ),
    "accepted event deleted": (
        f"DELETE FROM ledger.event WHERE kind = 2 AND notification_id = {WAITING}",
        {"notification_without_accepted_event"},
    ),
    "accepted event doubled": (
        f"INSERT INTO ledger.event (notification_id, app_id, kind) SELECT id, 1, 2 FROM ledger.notification WHERE id = {WAITING}",
        {"notification_without_accepted_event"},
    ),
    "notification deleted": (
        f"DELETE FROM ledger.notification WHERE id = {WAITING}",
        {"accepted_event_without_notification"},
    ),
    "schedule deleted": ("DELETE FROM ledger.schedule", {"scheduled_event_without_schedule"}),
    "plan work deleted": (
        f"DELETE FROM ledger.plan_work WHERE notification_id = {WAITING}",
        {"notification_lost_before_planning"},
    ),
    "planned turned back into accepted": (
        "UPDATE ledger.notification SET state = 2 WHERE id = (SELECT id FROM ledger.notification WHERE state = 3 LIMIT 1)",
        {"notification_lost_before_planning"},
    ),
    "planned count changed": (
        f"""UPDATE ledger.notification SET planned_count = planned_count + 1
            WHERE id = (SELECT notification_id FROM ledger.delivery WHERE id = {SENT})""",
        {"planned_count_differs"},
    ),
    "attempt deleted": (f"DELETE FROM ledger.attempt WHERE delivery_id = {SENT}", {"sent_without_attempt"}),
    "provider's id changed": (
        f"UPDATE ledger.attempt SET provider_message_id = 'x' WHERE delivery_id = {SENT}",
        {"sent_without_attempt"},
    ),
    "charge kept": (
        f"INSERT INTO ledger.sms_charge (delivery_id, generation, budget_id, app_id, segments) SELECT id, 1, 1, 1, 1 FROM {SENT}",
        {"charge_of_what_ended"},
    ),
    "body deleted": (f"DELETE FROM ledger.delivery_body WHERE id = {READY}", {"in_flight_without_body"}),
    "enqueued nowhere": (
        f"UPDATE ledger.delivery_work SET enqueued_at = NULL WHERE delivery_id = {ENQUEUED}",
        {"work_at_rest_nowhere"},
    ),
    "leased without an end": (
        f"UPDATE ledger.delivery_work SET lease_until = NULL WHERE delivery_id = {LEASED}",
        {"work_at_rest_nowhere"},
    ),
    "retry that is never due": (
        "UPDATE ledger.delivery_work SET due_at = NULL WHERE state = 4",
        {"work_at_rest_nowhere"},
    ),
    "digest window deleted": ("DELETE FROM ledger.digest", {"waiting_for_nothing"}),
    "merged into a delivery that is not there": (
        "UPDATE ledger.delivery SET merged_into = uuidv7() WHERE reason = 15",
        {"merged_into_nothing"},
    ),
    "notification that rests nowhere": (
        f"UPDATE ledger.plan_work SET ready_since = NULL WHERE notification_id = {RESTING}",
        {"plan_work_at_rest_nowhere"},
    ),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
async def test_corruption_is_found_by_its_checks(database: Database, app: App, corruption: str) -> None:
    await a_bit_of_everything(database.pool, app)
    statement, checks = CORRUPTIONS[corruption]

    status = await database.pool.execute(statement)

    assert status.rpartition(" ")[2] == "1", "the corruption must hit one row"
    assert set((await audited(database.pool)).findings) == checks


def test_every_check_is_proved_by_a_corruption() -> None:
    proved_here = set().union(*(checks for _, checks in CORRUPTIONS.values()))
    assert proved_here | PROVED_WITH_BROADCASTS == set(CHECKS)


async def test_audit_of_one_app_does_not_see_the_faults_of_another(database: Database, app: App) -> None:
    await a_bit_of_everything(database.pool, app)
    await database.pool.execute(CORRUPTIONS["work deleted"][0])
    since = datetime.now(UTC) - timedelta(days=1)

    assert (await audit(database.pool, since=since, app_id=app.app_id)).unaccounted == 1
    other = await audit(database.pool, since=since, app_id=app.app_id + 1)
    assert (other.unaccounted, other.accepted, other.deliveries) == (0, 0, 0)


async def test_row_that_rests_too_long_is_stuck_and_no_contradiction(database: Database, app: App) -> None:
    await planned(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery_work SET enqueued_at = now() - interval '11 minutes'")

    found = await audited(database.pool)

    assert (found.unaccounted, found.stuck) == (0, 1)


async def test_half_of_a_move_that_is_not_committed_is_no_contradiction(database: Database, app: App) -> None:
    await planned(database.pool, app)
    async with database.pool.acquire() as db:
        move = db.transaction()
        await move.start()
        await db.execute("DELETE FROM ledger.delivery_work")
        during = await audited(database.pool)
        await move.rollback()

    assert during.unaccounted == 0


async def test_events_stamped_just_before_their_ids_are_counted(database: Database, app: App) -> None:
    _, id_ = await delivered(database.pool, app)
    since = datetime.fromtimestamp(timestamp_ms(id_) / 1000, UTC)
    await database.pool.execute("UPDATE ledger.event SET at = $1", since - timedelta(milliseconds=5))

    found = await audit(database.pool, since=since)

    assert (found.deliveries, found.findings) == (1, {})


async def test_auditor_finds_what_goes_wrong_with_what_events_touch_and_forgets_it_once_mended(
    database: Database, app: App
) -> None:
    await a_bit_of_everything(database.pool, app)
    auditor = Auditor(database.pool)
    sound, _ = await auditor.step()
    _, id_ = await delivered(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery SET reason = 41 WHERE id = $1", id_)

    wrong, _ = await auditor.step()
    still_wrong, _ = await auditor.step()
    await database.pool.execute("UPDATE ledger.delivery SET reason = 0 WHERE id = $1", id_)
    mended, _ = await auditor.step()

    assert set(sound) == set(CHECKS)
    assert not any(sound.values())
    assert {name for name, count in wrong.items() if count} == {"terminal_event_contradicts"}
    assert still_wrong == wrong
    assert not any(mended.values())


async def test_auditor_skips_no_transaction_that_commits_late(database: Database, app: App) -> None:
    auditor = Auditor(database.pool)
    await auditor.step()
    async with database.pool.acquire() as late, late.transaction():
        await late.execute(
            "INSERT INTO ledger.event (notification_id, app_id, kind) VALUES (uuidv7(), $1, 2)", app.app_id
        )
        await planned(database.pool, app)
        before, _ = await auditor.step()

    after, _ = await auditor.step()

    assert not any(before.values())
    assert after["accepted_event_without_notification"] == 1


async def test_auditor_goes_through_a_backlog_of_events_in_batches(database: Database, app: App) -> None:
    auditor = Auditor(database.pool, batch=3)
    await auditor.step()
    await a_bit_of_everything(database.pool, app)
    await database.pool.execute(CORRUPTIONS["work deleted"][0])

    steps = 1
    findings, more = await auditor.step()
    while more:
        findings, more = await auditor.step()
        steps += 1

    assert steps > 5
    assert sum(findings.values()) == 1
