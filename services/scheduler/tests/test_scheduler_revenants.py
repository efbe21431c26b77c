"""Messages that a server brings back after it settled them, as it may when it lost its last writes."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Subjects, plan_lane
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Priority
from clarion_local.servers.nats import NatsServer

PLAN = plan_lane(Priority.NORMAL)
GRACE = timedelta(seconds=10)


async def settle(bus: JetStreamBus, messages: int) -> None:
    subscription = await bus._jetstream.pull_subscribe_bind(
        durable=PLAN.name, stream=Subjects().stream_name(PLAN.stream)
    )
    for message in await subscription.fetch(messages, timeout=5):
        await message.ack_sync(timeout=5)
    await subscription.unsubscribe()


async def test_revenants_are_purged_and_do_not_pass_for_the_oldest_message(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    server = NatsServer(tmp_path / "nats")
    await server.start()
    try:
        async with JetStreamBus.connect(server.url(), "test", Subjects(), telemetry) as bus:
            await bus.ensure_topology()
            for _ in range(5):
                await bus.publish(PLAN, [uuid4().bytes])
        await server.stop(GRACE)
        [messages] = [path for path in server.store.rglob("msgs") if path.parent.name == "PLAN"]
        kept = shutil.copytree(messages, tmp_path / "kept")
        await server.start()
        async with JetStreamBus.connect(server.url(), "test", Subjects(), telemetry) as bus:
            await settle(bus, 5)
            assert await bus.oldest(PLAN) is None
        await server.stop(GRACE)
        shutil.rmtree(messages)
        shutil.copytree(kept, messages)
        await server.start()
        async with JetStreamBus.connect(server.url(), "test", Subjects(), telemetry) as bus:
            revenants = (await bus._jetstream.stream_info("PLAN")).state.messages
            assert revenants == 5
            before = datetime.now(UTC)
            await bus.publish(PLAN, [uuid4().bytes])

            oldest = await bus.oldest(PLAN)

            assert oldest is not None
            assert oldest >= before - timedelta(seconds=1)
            assert (await bus._jetstream.stream_info("PLAN")).state.messages == 1
    finally:
        await asyncio.wait_for(server.stop(GRACE), 20)
