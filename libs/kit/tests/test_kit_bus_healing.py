"""Consumers that were paused, deleted or stuck give their messages out again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clarion_kit.bus import BusUnavailable, JetStreamBus, LaneMissing
from clarion_kit.subjects import Stream, Subjects, plan_lane
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Priority
from clarion_local.servers.nats import NatsServer

PLAN = plan_lane(Priority.NORMAL)
HOUR = timedelta(hours=1)


async def pause(bus: JetStreamBus, subjects: Subjects) -> None:
    until = (datetime.now(UTC) + HOUR).isoformat()
    await bus._jetstream.pause_consumer(subjects.stream_name(Stream.PLAN), PLAN.name, until)


async def taken(bus: JetStreamBus) -> int:
    """Messages that a reader gets at once."""
    subscription = await bus._jetstream.pull_subscribe_bind(
        durable=PLAN.name, stream=bus._subjects.stream_name(PLAN.stream)
    )
    try:
        return len(await subscription.fetch(10, timeout=0.5))
    except TimeoutError:
        return 0
    finally:
        await subscription.unsubscribe()


async def test_paused_consumer_gives_nothing_until_it_is_resumed(bus: JetStreamBus, subjects: Subjects) -> None:
    await bus.publish(PLAN, [bytes(16)])
    await pause(bus, subjects)
    assert (await bus.consumer(PLAN)).paused
    assert await taken(bus) == 0

    await bus.resume(PLAN)

    assert not (await bus.consumer(PLAN)).paused
    assert await taken(bus) == 1


async def test_recreated_consumer_gives_out_again_what_was_not_settled(bus: JetStreamBus) -> None:
    await bus.publish(PLAN, [bytes(16)])
    assert await taken(bus) == 1
    before = await bus.consumer(PLAN)

    await bus.recreate(PLAN)

    assert (before.waiting, before.pending, before.delivered) == (0, 1, 1)
    assert await taken(bus) == 1


async def test_deleted_consumer_is_missing_until_it_is_recreated(bus: JetStreamBus, subjects: Subjects) -> None:
    await bus._jetstream.delete_consumer(subjects.stream_name(Stream.PLAN), PLAN.name)
    with pytest.raises(LaneMissing):
        await bus.consumer(PLAN)

    await bus.recreate(PLAN)

    assert (await bus.consumer(PLAN)).waiting == 0


async def test_stream_tells_its_age_its_fill_and_whether_it_is_there(bus: JetStreamBus, subjects: Subjects) -> None:
    [spec] = [spec for spec in subjects.streams() if spec.stream is Stream.PLAN]
    await bus.publish(PLAN, [bytes(16)] * 200)

    look = await bus.stream(spec)

    assert (look.last_seq, look.lost) == (2, 0)
    assert 0 < look.fill < 0.01
    await bus._jetstream.delete_stream(subjects.stream_name(Stream.PLAN))
    with pytest.raises(LaneMissing):
        await bus.stream(spec)


async def test_probe_is_stored_where_events_are(bus: JetStreamBus, subjects: Subjects) -> None:
    await bus.probe()

    assert (await bus.stream_identity(Stream.EVENTS))[1] == 1


async def test_probe_fails_where_nothing_stores(nats_url: str, telemetry: Telemetry) -> None:
    async with JetStreamBus.connect(nats_url, "test", Subjects("nobody"), telemetry) as bus:
        with pytest.raises(BusUnavailable):
            await bus.probe()


async def test_consumer_whose_files_are_corrupt_is_served_again_by_a_new_stream(
    tmp_path: Path, subjects: Subjects, telemetry: Telemetry
) -> None:
    server = NatsServer(tmp_path)
    await server.start()
    try:
        async with JetStreamBus.connect(server.url(), "test", subjects, telemetry) as bus:
            await bus.ensure_topology()
            await bus.publish(PLAN, [bytes(16)])
            before = await bus.stream_identity(Stream.PLAN)
        await server.stop()
        [state] = server.store.rglob(f"{PLAN.name}/o.dat")
        state.write_bytes(bytes(20))  # what a file system leaves of a write that its power loss cut short
        await server.start()
        async with JetStreamBus.connect(server.url(), "test", subjects, telemetry) as bus:
            with pytest.raises(LaneMissing):
                await bus.consumer(PLAN)

            await bus.ensure_topology()
            await bus.publish(PLAN, [bytes(16)])

            assert await taken(bus) == 1
            assert (await bus.stream_identity(Stream.PLAN))[0] > before[0]
    finally:
        await server.stop()
