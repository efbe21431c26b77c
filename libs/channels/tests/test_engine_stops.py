"""Stopped lanes: seen by every engine, tried half open, let go on, and what becomes of the deliveries they hold."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from google.protobuf.duration_pb2 import Duration
from pydantic import BaseModel

from clarion.provider.v1.provider_service_pb2 import Breaker, DeadGuard, Limits
from clarion_channels.engine.stops import LONGEST_PAUSE
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, EventKind, Reason, StopReason
from clarion_ledger import flow, stops
from clarion_testkit.plugin import App, Database

from .engine_samples import ACCEPT, Bench, Paused, answer, bench

HELD = DeliveryState.HELD
SENT = DeliveryState.SENT
RETRY_WAIT = DeliveryState.RETRY_WAIT
FAIL = answer(Result(Outcome.RETRY, code="503"))
DIES = answer(Result(Outcome.DEAD, code="410"))
REFUSE = answer(Result(Outcome.CRED, code="InvalidProviderToken"))
TOUCHY = Limits(breaker=Breaker(min_attempts=5))


class NeedsKey(BaseModel):
    key: str


async def stop_by_hand(b: Bench, lane_id: int) -> None:
    await stops.stop(b.pool, lane_id, b.app.app_id, StopReason.OPERATOR, "maintenance", None)
    await b.look()


async def broken(b: Bench, count: int = 8, *, max_attempts: int = 3) -> tuple[int, list[UUID]]:
    """A lane that its breaker stopped, and deliveries that it holds and never tried."""
    lane_id = await b.lane(limits=TOUCHY)
    b.factory.behaviour = FAIL
    await b.send(await b.deliveries(lane_id, 5, max_attempts=1))
    held = await b.deliveries(lane_id, count, max_attempts=max_attempts)
    await b.send(held)
    await b.look()
    assert await b.states(held) == [HELD] * count
    return lane_id, held


async def timeline(b: Bench, id_: UUID) -> list[EventKind]:
    rows = await b.pool.fetch("SELECT kind FROM ledger.event WHERE delivery_id = $1 ORDER BY xid, seq", id_)
    return [EventKind(row["kind"]) for row in rows]


# ---------------------------------------------------------------- stopping


async def test_breaker_stops_a_lane_and_what_comes_then_is_held_untried(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, held = await broken(b)

        stop = await b.stop_of(lane_id)
        assert stop is not None
        assert (stop.reason, stop.app_id, stop.detail, stop.probes) == (StopReason.BREAKER, app.app_id, "503", 0)
        assert [(await b.row(id_))["tried"] for id_ in held] == [0] * len(held)
        assert len(b.factory.sent) == 5
        assert await timeline(b, held[0]) == [EventKind.HELD]
        assert await b.unaccounted() == 0


async def test_failures_that_come_in_after_the_stop_are_held_with_their_attempt(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = FAIL
        ids = await b.deliveries(await b.lane(limits=TOUCHY), 7)

        await b.send(ids)

        states = await b.states(ids)
        assert (states.count(RETRY_WAIT), states.count(HELD)) == (4, 3)
        assert [(await b.row(id_))["tried"] for id_ in ids] == [1] * 7
        assert await b.unaccounted() == 0


async def test_stop_is_seen_by_another_engine(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as first, bench(database, app, telemetry) as second:
        first.factory.behaviour = REFUSE
        lane_id = await first.lane()
        await second.config.refresh()
        await second.send(await second.deliveries(lane_id))
        await first.send(await first.deliveries(lane_id))
        await first.look()
        later = await second.deliveries(lane_id, 2)

        await second.look()
        await second.send(later)

        assert second.at_work(lane_id).stop is StopReason.CREDENTIALS
        assert await second.states(later) == [HELD] * 2
        assert len(second.factory.sent) == 1
        assert await first.unaccounted() == 0


async def test_refused_credentials_stop_their_lane_alone(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = REFUSE
        refused = await b.lane("refused")
        [first] = await b.deliveries(refused)
        await b.send([first])
        b.factory.behaviour = ACCEPT
        [second], [elsewhere] = await b.deliveries(refused), await b.deliveries(await b.lane("good"))

        await b.send([second, elsewhere])

        assert b.at_work(refused).stop is StopReason.CREDENTIALS
        assert await b.states([first, second, elsewhere]) == [HELD, HELD, SENT]
        assert [(await b.row(id_))["tried"] for id_ in (first, second)] == [0, 0]
        assert await b.unaccounted() == 0


async def test_one_refusal_between_accepted_messages_is_that_messages_own(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        await b.send(await b.deliveries(lane_id, 3))
        b.factory.made[0].behaviour = REFUSE
        refused = await b.deliveries(lane_id, 2)

        await b.send(refused)

        assert b.at_work(lane_id).stop is None
        assert await b.states(refused) == [RETRY_WAIT] * 2
        assert [(await b.row(id_))["tried"] for id_ in refused] == [1, 1]
        third = await b.deliveries(lane_id)
        await b.send(third)
        assert b.at_work(lane_id).stop is StopReason.CREDENTIALS
        assert await b.states(third) == [HELD]
        assert await b.unaccounted() == 0


# ---------------------------------------------------------------- the half-open trial


async def test_failing_trial_keeps_the_lane_stopped_and_burns_no_attempt(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, held = await broken(b)
        called = len(b.factory.sent)

        await b.try_now(lane_id)

        stop = await b.stop_of(lane_id)
        assert stop is not None
        assert (stop.reason, stop.probes, stop.probe_due) == (StopReason.BREAKER, 1, False)
        assert [message.delivery_id for message in b.factory.sent[called:]] == sorted(held)[:5]
        assert await b.states(held) == [HELD] * len(held)
        assert [(await b.row(id_))["tried"] for id_ in held] == [0] * len(held)
        assert await b.unaccounted() == 0


async def test_failing_trial_burns_not_even_the_last_attempt(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, held = await broken(b, 3, max_attempts=1)

        await b.try_now(lane_id)

        assert await b.states(held) == [HELD] * 3
        assert await b.unaccounted() == 0


async def test_single_delivery_that_always_fails_does_not_keep_its_account_stopped(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, [held] = await broken(b, 1)

        await b.try_now(lane_id)
        assert await b.stop_of(lane_id) is not None
        await b.try_now(lane_id)

        assert await b.stop_of(lane_id) is None
        await b.go_on([held])
        assert (await b.state(held), (await b.row(held))["tried"]) == (RETRY_WAIT, 1)
        assert await b.unaccounted() == 0


async def test_working_trial_lets_the_lane_go_on_and_everything_held_is_sent(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, held = await broken(b, 12)
        await b.try_now(lane_id)
        b.factory.made[0].behaviour = ACCEPT

        await b.try_now(lane_id)
        after_trial = await b.states(held)
        await b.go_on(held)

        assert await b.stop_of(lane_id) is None
        assert b.at_work(lane_id).stop is None
        assert (after_trial.count(SENT), after_trial.count(HELD)) == (5, 7)
        assert await b.states(held) == [SENT] * 12
        assert [(await b.row(id_))["tried"] for id_ in held] == [1] * 12
        assert await b.unaccounted() == 0


async def test_trial_with_deliveries_that_failed_before_asks_no_retry_budget(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane(limits=TOUCHY)
        b.factory.behaviour = FAIL
        ids = await b.deliveries(lane_id, 40)
        await b.send(ids)
        held = [id_ for id_ in ids if await b.state(id_) is HELD]
        await b.look()
        for _ in range(4):  # each would spend five retries
            await b.try_now(lane_id)
        b.factory.made[0].behaviour = ACCEPT

        await b.try_now(lane_id)

        states = await b.states(held)
        assert (states.count(SENT), states.count(HELD)) == (5, 31)
        assert await b.stop_of(lane_id) is None
        assert await b.unaccounted() == 0


async def test_other_engines_follow_a_lane_that_goes_on(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as first, bench(database, app, telemetry) as second:
        lane_id, held = await broken(first)
        await second.config.refresh()
        await second.look()
        first.factory.made[0].behaviour = ACCEPT
        await first.try_now(lane_id)

        await second.look()
        await stops.release(second.pool, 1_000)
        rest = [id_ for id_ in held if await second.state(id_) is DeliveryState.READY]
        await second.enqueue_again(rest)
        await second.send(rest)

        assert await second.states(held) == [SENT] * len(held)
        assert len(second.factory.sent) == len(rest) > 0
        assert await second.unaccounted() == 0


async def test_stopped_lane_whose_probe_fails_is_tried_with_no_delivery(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, held = await broken(b)
        called = len(b.factory.sent)
        b.factory.made[0].away = "nobody there"

        await b.try_now(lane_id)

        assert len(b.factory.sent) == called
        assert b.factory.made[0].probes == 1
        assert await b.states(held) == [HELD] * len(held)
        assert await b.stop_of(lane_id) is not None


async def test_lane_that_holds_nothing_goes_on_when_its_probe_works(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = FAIL
        lane_id = await b.lane(limits=TOUCHY)
        await b.send(await b.deliveries(lane_id, 5, max_attempts=1))
        await b.look()

        await b.try_now(lane_id)

        assert await b.stop_of(lane_id) is None
        assert b.at_work(lane_id).stop is None


async def test_trial_that_is_not_due_is_not_made(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, _ = await broken(b)

        await b.look()

        stop = await b.stop_of(lane_id)
        assert stop is not None
        assert (stop.probes, b.factory.made[0].probes) == (0, 0)


async def test_pause_between_trials_doubles_up_to_five_minutes(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id, _ = await broken(b)
        b.factory.made[0].away = "nobody there"
        pauses = []
        for _ in range(8):
            await b.try_now(lane_id)
            pauses.append(
                await b.pool.fetchval(
                    "SELECT round(extract(epoch FROM probe_at - now())) FROM ledger.lane_stop WHERE lane_id = $1",
                    lane_id,
                )
            )

        assert [int(pause) for pause in pauses] == [10, 20, 40, 80, 160, *[LONGEST_PAUSE.total_seconds()] * 3]


# ---------------------------------------------------------------- stops that wait for a person


async def test_stop_by_hand_is_not_tried_and_waits_for_a_person(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        await b.send(await b.deliveries(lane_id))
        await stop_by_hand(b, lane_id)
        ids = await b.deliveries(lane_id, 3)
        await b.send(ids)
        await b.look()
        await b.go_on(ids)
        assert await b.states(ids) == [HELD] * 3
        assert (b.factory.made[0].probes, len(b.factory.sent)) == (0, 1)

        assert await stops.resume(b.pool, lane_id)
        await b.look()
        await b.go_on(ids)

        assert await b.states(ids) == [SENT] * 3
        assert await b.unaccounted() == 0


async def test_stop_by_hand_holds_what_fails_in_flight(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        paused = Paused()

        async def fail_then(batch: Sequence[Message], report: Report) -> None:
            paused.reached.set()
            await paused.go.wait()
            await FAIL(batch, report)

        b.factory.behaviour = fail_then
        lane_id = await b.lane()
        ids = await b.deliveries(lane_id, 2)
        await b.hand_over(ids)
        await paused.reached.wait()
        await stop_by_hand(b, lane_id)

        paused.go.set()
        await b.settled()

        assert await b.states(ids) == [HELD] * 2
        assert await b.unaccounted() == 0


async def test_jump_of_dead_addresses_stops_the_lane_and_none_of_them_is_disabled(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    limits = Limits(dead_guard=DeadGuard(min_answers=10, dead_ratio=0.5))
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = DIES
        good, bad = await b.lane("good"), await b.lane("bad", limits=limits)
        [dead_for_sure] = await b.deliveries(good)
        ids = await b.deliveries(bad, 15)

        await b.send([dead_for_sure, *ids])
        await b.look()
        await b.dead_queue.flush()

        assert [dead.lane_id for dead in b.dead] == [good]
        stop = await b.stop_of(bad)
        assert stop is not None
        assert (stop.reason, stop.detail, stop.probe_due) == (StopReason.DEAD_JUMP, "410", False)
        states = await b.states(ids)
        assert (states.count(DeliveryState.FAILED), states.count(HELD)) == (9, 6)
        b.factory.made[1].behaviour = b.factory.made[0].behaviour = ACCEPT
        await b.look()
        assert await b.stop_of(bad) is not None
        await stops.resume(b.pool, bad)
        await b.look()
        await b.go_on([id_ for id_, state in zip(ids, states, strict=True) if state is HELD])
        assert (await b.states(ids)).count(SENT) == 6
        assert await b.unaccounted() == 0


# ---------------------------------------------------------------- accounts that cannot be used


@pytest.mark.parametrize("fault", ["unknown kind", "faulty settings"])
async def test_unusable_account_stops_and_goes_on_when_it_was_put_right(
    database: Database, app: App, telemetry: Telemetry, fault: str
) -> None:
    async def validate() -> None:
        NeedsKey.model_validate({})

    async with bench(database, app, telemetry) as b:
        if fault == "faulty settings":
            b.factory.before = validate
        lane_id = await b.lane(kind="pigeon" if fault == "unknown kind" else "scripted")
        ids = await b.deliveries(lane_id, 3)
        await b.send(ids)
        await b.look()
        stop = await b.stop_of(lane_id)
        assert stop is not None
        assert stop.reason is StopReason.UNUSABLE
        assert (
            stop.detail
            == {
                "unknown kind": "provider kind 'pigeon' is not installed",
                "faulty settings": "the account's settings have 1 faults",
            }[fault]
        )
        await b.try_now(lane_id)
        assert await b.states(ids) == [HELD] * 3

        b.factory.before = None
        await b.lane(settings=b'{"key": "good"}')
        await b.look()
        await b.go_on(ids)

        assert await b.stop_of(lane_id) is None
        assert await b.states(ids) == [SENT] * 3
        assert [(await b.row(id_))["tried"] for id_ in ids] == [1] * 3
        assert await b.unaccounted() == 0


# ---------------------------------------------------------------- held for too long


async def test_delivery_held_longer_than_its_account_allows_is_a_dead_letter(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    minute = Duration()
    minute.FromTimedelta(timedelta(minutes=1))
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane(limits=Limits(hold_limit=minute))
        await stop_by_hand(b, lane_id)
        old, young = await b.deliveries(lane_id, 2)
        await b.send([old, young])
        await b.pool.execute(
            "UPDATE ledger.delivery_work SET planned_at = planned_at - interval '2 minutes' WHERE delivery_id = $1", old
        )
        await b.look()
        assert await b.states([old, young]) == [HELD] * 2, "the lane is not stopped for so long"
        await b.pool.execute("UPDATE ledger.lane_stop SET since = since - interval '2 minutes'")

        await b.look()

        row = await b.row(old)
        assert (row["now"], row["reason"], row["tried"]) == (DeliveryState.DEAD_LETTERED, Reason.HELD_TOO_LONG, 0)
        assert await b.state(young) is HELD
        letter = await b.pool.fetchrow("SELECT * FROM ledger.dead_letter WHERE delivery_id = $1", old)
        assert letter is not None
        assert (letter["lane_id"], letter["reason"]) == (lane_id, Reason.HELD_TOO_LONG)
        assert await timeline(b, old) == [EventKind.HELD, EventKind.TERMINAL]
        assert await b.unaccounted() == 0


async def test_held_delivery_past_its_deadline_expires(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        await stop_by_hand(b, lane_id)
        [id_] = await b.deliveries(lane_id)
        await b.send([id_])
        await b.pool.execute("UPDATE ledger.delivery_work SET expire_at = now() WHERE delivery_id = $1", id_)

        await flow.expired(b.pool)

        assert await b.state(id_) is DeliveryState.EXPIRED
        assert await b.unaccounted() == 0
