"""A dead letter becomes a new delivery, once, and the audit's sums hold."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.address_pb2 import (
    ANDROID_PUSH_SERVICE_HUAWEI,
    ANDROID_PUSH_SERVICE_UNSPECIFIED,
    Address,
    AndroidDevice,
    AndroidPushService,
)
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason
from clarion_ledger import flow, reading
from clarion_ledger.config import CategoryRule, ConfigCache
from clarion_ledger.db import Pool, pool
from clarion_ledger.dead_letters import LetterFilter, whole
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.ids import delivery_id
from clarion_ledger.redriving import Outcome, Pace, Redriven, next_id, redrive, walk
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    LEASE,
    audited,
    delivery_row,
    events_of,
    existing_work_row,
    planned,
    sent,
    state_of,
)

SECOND = timedelta(seconds=1)
BY = "ck_operator"


async def dead(pool: Pool, app: App, count: int = 1) -> list[UUID]:
    """Dead letters with sealed content, by id."""
    _, ids = await planned(pool, app, count)
    await seal(pool, app, ids)
    await die(pool, ids)
    return sorted(ids)


async def seal(pool: Pool, app: App, ids: Sequence[UUID]) -> None:
    sealer = await app.keys.sealer(app.app_id)
    for id_ in ids:
        content = sealer.seal("delivery", id_.bytes, "content", b"hello")
        await pool.execute("UPDATE ledger.delivery_body SET content = $2 WHERE id = $1", id_, content)


async def die(pool: Pool, ids: Sequence[UUID]) -> None:
    claims = await claim(pool, ids, LEASE)
    await record(pool, [Record(c, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, code="503") for c in claims])


async def again(
    pool: Pool,
    app: App,
    letters: Sequence[UUID],
    *,
    pace: Pace | None = None,
    rules: Mapping[int, CategoryRule] | None = None,
) -> list[Redriven]:
    return await redrive(pool, app.keys, rules or {}, app.app_id, letters, by=BY, pace=pace or Pace(None, SECOND / 100))


async def replaced(pool: Pool, app: App, letter: UUID) -> UUID:
    [done] = await again(pool, app, [letter])
    assert (done.outcome, done.new_id is not None) == (Outcome.REDRIVEN, True)
    return done.new_id or letter


async def due(pool: Pool, id_: UUID) -> None:
    """What the scheduler does with a retry whose time has come."""
    await pool.execute("UPDATE ledger.delivery_work SET due_at = now() WHERE delivery_id = $1", id_)
    assert [id_] in [moved.ids for moved in await flow.due_retries(pool)]


async def test_redriven_letter_is_sent_by_a_new_delivery(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)

    new_id = await replaced(database.pool, app, letter)
    await due(database.pool, new_id)
    [claimed] = await claim(database.pool, [new_id], LEASE)
    sealer = await app.keys.sealer(app.app_id)
    assert sealer.open("delivery", new_id.bytes, "content", claimed.content) == b"hello"
    assert claimed.address == b"address"
    assert await record(database.pool, [sent(claimed)]) == {new_id}

    assert await state_of(database.pool, letter) is DeliveryState.DEAD_LETTERED
    assert await state_of(database.pool, new_id) is DeliveryState.SENT
    assert (await delivery_row(database.pool, new_id))["redrive_of"] == letter


@pytest.mark.parametrize(
    ("service", "hint"), [(ANDROID_PUSH_SERVICE_HUAWEI, "huawei"), (ANDROID_PUSH_SERVICE_UNSPECIFIED, "fcm")]
)
async def test_redriven_push_still_knows_its_service(
    database: Database, app: App, service: AndroidPushService.ValueType, hint: str
) -> None:
    [letter] = await dead(database.pool, app)
    sealer = await app.keys.sealer(app.app_id)
    address_id = (await delivery_row(database.pool, letter))["address_id"]
    device = Address(android=AndroidDevice(token="device", service=service)).SerializeToString()
    sealed = sealer.seal("address", address_id.bytes, "address", device)
    await database.pool.execute("UPDATE ledger.delivery_body SET address = $2 WHERE id = $1", letter, sealed)

    new_id = await replaced(database.pool, app, letter)

    assert (await existing_work_row(database.pool, new_id))["hint"] == hint


async def test_audit_is_clean_at_every_step_of_a_redrive(database: Database, app: App) -> None:
    [letter, _] = await dead(database.pool, app, 2)
    findings = [(await audited(database.pool)).findings]

    new_id = await replaced(database.pool, app, letter)
    findings.append((await audited(database.pool)).findings)
    await due(database.pool, new_id)
    claims = await claim(database.pool, [new_id], LEASE)
    findings.append((await audited(database.pool)).findings)
    await record(database.pool, [sent(claimed) for claimed in claims])
    findings.append((await audited(database.pool)).findings)

    assert findings == [{}] * 4


async def test_audit_finds_a_redriven_delivery_that_was_lost(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    new_id = await replaced(database.pool, app, letter)

    await database.pool.execute("DELETE FROM ledger.delivery_work WHERE delivery_id = $1", new_id)

    assert (await audited(database.pool)).findings == {"delivery_in_flight_without_work": 1}


async def test_second_redrive_answers_with_the_first_ones_delivery(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    new_id = await replaced(database.pool, app, letter)

    assert await again(database.pool, app, [letter]) == [Redriven(letter, Outcome.ALREADY_REDRIVEN, new_id)]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery WHERE redrive_of = $1", letter) == 1


async def test_redrives_at_the_same_time_make_one_delivery_each(database: Database, app: App) -> None:
    letters = await dead(database.pool, app, 20)

    async with pool(f"{database.url}?role=clarion_gateway", size=4, application="gateways") as gateways:
        answers = await asyncio.gather(*(again(gateways, app, letters if n % 2 else letters[::-1]) for n in range(4)))

    by_letter = {letter: [one for answer in answers for one in answer if one.letter == letter] for letter in letters}
    for outcomes in by_letter.values():
        assert sorted(one.outcome.name for one in outcomes) == ["ALREADY_REDRIVEN"] * 3 + ["REDRIVEN"]
        assert len({one.new_id for one in outcomes}) == 1
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery_work") == 20
    assert (await audited(database.pool)).findings == {}


async def test_letter_that_dies_again_can_be_redriven_again(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    second = await replaced(database.pool, app, letter)
    await due(database.pool, second)
    await die(database.pool, [second])

    third = await replaced(database.pool, app, second)

    row = await delivery_row(database.pool, letter)
    assert third == delivery_id(
        row["notification_id"], row["recipient_ref"], Channel.ANDROID, row["address_id"], epoch=2
    )
    assert (await audited(database.pool)).findings == {}


async def test_new_deliveries_become_due_at_their_pace_with_a_deadline_of_their_own(
    database: Database, app: App
) -> None:
    letters = await dead(database.pool, app, 3)
    config = ConfigCache(database.pool, with_lanes=False)
    await config.refresh()
    start = datetime(2031, 1, 1, tzinfo=UTC)

    made = await again(
        database.pool, app, letters, pace=Pace(start, 2 * SECOND), rules=config.snapshot.categories_by_id
    )

    rows = [await existing_work_row(database.pool, one.new_id or one.letter) for one in made]
    assert [row["due_at"] for row in rows] == [start, start + 2 * SECOND, start + 4 * SECOND]
    assert [one.due_at for one in made] == [row["due_at"] for row in rows]
    assert Pace(start, 2 * SECOND).after(made).first == start + 6 * SECOND
    assert {row["expire_at"] - row["due_at"] for row in rows} == {timedelta(hours=24)}
    assert {(row["max_attempts"], row["at_most_once"], row["attempt"]) for row in rows} == {(8, False, 0)}


async def test_moment_that_is_past_means_now_by_the_database_s_clock(database: Database, app: App) -> None:
    letters = await dead(database.pool, app, 2)

    [first] = await again(database.pool, app, letters[:1], pace=Pace(datetime(2020, 1, 1, tzinfo=UTC), SECOND))
    [second] = await again(database.pool, app, letters[1:], pace=Pace(None, SECOND))

    clock = await database.pool.fetchval("SELECT now()")
    for made in (first, second):
        assert made.due_at is not None
        assert timedelta(0) <= clock - made.due_at < timedelta(minutes=1)


async def test_old_plan_s_moment_stays_so_that_wishes_are_asked_again(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery SET planned_at = planned_at - interval '3 days'")

    new_id = await replaced(database.pool, app, letter)

    work = await existing_work_row(database.pool, new_id)
    assert work["planned_at"] == (await delivery_row(database.pool, letter))["planned_at"]
    assert work["wishes_revision"] is None


async def test_doubt_about_the_old_delivery_goes_with_the_new_one(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery SET ambiguous = true")

    new_id = await replaced(database.pool, app, letter)

    assert (await existing_work_row(database.pool, new_id))["ambiguous"]


async def test_collapse_key_comes_back_from_what_the_client_asked(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    row = await database.pool.fetchrow("SELECT id, event_id FROM ledger.notification")
    assert row is not None
    sealer = await app.keys.sealer(app.app_id)
    asked = Notification(collapse_key="order-7").SerializeToString()
    payload = sealer.seal("notification", row["event_id"].encode(), "payload", asked)
    await database.pool.execute("UPDATE ledger.notification_body SET payload = $1", payload)

    new_id = await replaced(database.pool, app, letter)

    assert (await existing_work_row(database.pool, new_id))["collapse_key"] == "order-7"


async def test_event_says_whose_key_redrove_it(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)

    new_id = await replaced(database.pool, app, letter)

    notification_id = (await delivery_row(database.pool, new_id))["notification_id"]
    timeline = await reading.whole(database.pool, app.app_id, notification_id)
    assert timeline is not None
    assert [(e.delivery_id, e.code) for e in timeline.timeline if e.kind is EventKind.REDRIVEN] == [(new_id, BY)]
    assert len([kind for kind in await events_of(database.pool, notification_id) if kind == EventKind.TERMINAL]) == 1


@pytest.mark.parametrize("table", ["delivery_body", "delivery"])
async def test_letter_whose_partition_was_dropped_is_gone_and_nothing_is_written(
    database: Database, app: App, table: str
) -> None:
    [letter, kept] = await dead(database.pool, app, 2)
    await database.pool.execute(f"DELETE FROM ledger.{table} WHERE id = $1", letter)

    first, second = await again(database.pool, app, [letter, kept])

    assert first == Redriven(letter, Outcome.CONTENT_GONE)
    assert second.outcome is Outcome.REDRIVEN
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery_work") == 1


async def test_content_that_is_not_what_was_sealed_is_not_sent_again(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery_body SET content = 'damaged'")

    assert await again(database.pool, app, [letter]) == [Redriven(letter, Outcome.UNREADABLE)]


async def test_letter_of_another_app_is_not_found(database: Database, app: App) -> None:
    [letter] = await dead(database.pool, app)
    await database.pool.execute("UPDATE ledger.dead_letter SET app_id = app_id + 1")

    assert await again(database.pool, app, [letter]) == [Redriven(letter, Outcome.NOT_FOUND)]
    assert (await whole(database.pool, app.app_id, letter)) is None


async def test_walk_goes_through_letters_in_the_order_in_which_they_ended(database: Database, app: App) -> None:
    old = await dead(database.pool, app, 2)
    new = await dead(database.pool, app, 2)
    await replaced(database.pool, app, old[0])

    first = await walk(database.pool, app.app_id, LetterFilter(), behind=None, size=3)
    rest = await walk(database.pool, app.app_id, LetterFilter(), behind=first[-1], size=3)
    early = await walk(database.pool, app.app_id, LetterFilter(until=first[-1].at), behind=None, size=9)

    assert [one.delivery_id for one in [*first, *rest]] == old + new
    assert [one.delivery_id for one in early] == old


def test_next_id_finds_epoch_and_step_in_the_id_itself() -> None:
    parent, recipient, address = UUID(int=1 << 100), UUID(int=2), UUID(int=3)

    def made(step: int, epoch: int) -> UUID:
        return delivery_id(parent, recipient, Channel.SMS, address, step, epoch)

    for step, epoch in ((0, 0), (0, 1), (3, 0), (2, 5)):
        assert next_id(made(step, epoch), parent, recipient, Channel.SMS, address) == made(step, epoch + 1)
    assert next_id(UUID(int=9), parent, recipient, Channel.SMS, address) is None
