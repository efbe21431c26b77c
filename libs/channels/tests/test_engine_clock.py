"""A stepped clock (reliability.md row 32): what is due follows the database's clock, pauses and leases the monotonic one."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from clarion_channels.outcome import Outcome, Result
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState
from clarion_testkit.plugin import App, Database

from .engine_samples import Paused, answer, bench

STEPS = [timedelta(minutes=10), timedelta(minutes=-10)]
ids_of_steps = [f"{step.total_seconds() / 60:+.0f} min" for step in STEPS]


@pytest.mark.parametrize("step", STEPS, ids=ids_of_steps)
async def test_call_goes_on_and_keeps_its_lease_while_the_clock_is_stepped(
    database: Database, app: App, telemetry: Telemetry, step: timedelta
) -> None:
    async with bench(database, app, telemetry, lease=timedelta(seconds=60)) as b:
        b.factory.behaviour = paused = Paused()
        [id_] = await b.deliveries(await b.lane())
        await b.hand_over([id_])
        await paused.reached.wait()

        with time_machine.travel(datetime.now(UTC) + step):
            await b.engine.heartbeat()
            paused.go.set()
            await b.settled()

        assert await b.state(id_) is DeliveryState.SENT
        duration = await b.pool.fetchval("SELECT duration_ms FROM ledger.attempt WHERE delivery_id = $1", id_)
        assert 0 <= duration < 30_000
        assert await b.unaccounted() == 0


@pytest.mark.parametrize("step", STEPS, ids=ids_of_steps)
async def test_retry_is_due_by_the_clock_of_the_database(
    database: Database, app: App, telemetry: Telemetry, step: timedelta
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(Outcome.RETRY, code="503"))
        [id_] = await b.deliveries(await b.lane())

        with time_machine.travel(datetime.now(UTC) + step):
            await b.send([id_])

        waits = await b.pool.fetchval(
            "SELECT due_at - now() FROM ledger.delivery_work WHERE delivery_id = $1 AND state = 4", id_
        )
        assert timedelta(seconds=-5) < waits < timedelta(minutes=2)


@pytest.mark.parametrize("step", STEPS, ids=ids_of_steps)
async def test_death_of_an_address_is_dated_by_the_clock_of_the_database(
    database: Database, app: App, telemetry: Telemetry, step: timedelta
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(Outcome.DEAD, code="410"))
        [id_] = await b.deliveries(await b.lane())
        true_time = datetime.now(UTC)

        with time_machine.travel(true_time + step):
            await b.send([id_])
        await b.dead_queue.flush()

        [dead] = b.dead
        assert abs(dead.since - true_time) < timedelta(seconds=30)
