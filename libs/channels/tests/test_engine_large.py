"""Deliveries with files: claims end early, and what is held counts by its size."""

import asyncio
from uuid import UUID, uuid4

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.content_pb2 import MailAttachment
from clarion_channels.engine.capacity import SLOT_BYTES, slots_of
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState
from clarion_ledger.dispatching import MAX_CLAIM_BYTES
from clarion_testkit.plugin import App, Database

from .engine_samples import Bench, Paused, bench
from .live_engine import planned

FILE_BYTES = 512 << 10
COUNT = 60
SLOTS = 200


async def large(b: Bench, count: int) -> list[UUID]:
    lane_id = await b.lane()
    file = MailAttachment(filename="bill.pdf", content_type="application/pdf", content=bytes(FILE_BYTES))
    content = Rendered(mail=RenderedMail(subject="Your bill", attachments=[file]))
    return await planned(b.pool, b.app, Channel.ANDROID, lane_id, [(Address(), content)] * count)


async def test_large_deliveries_are_all_sent_though_claims_end_early(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        ids = await large(b, COUNT)

        await b.send([*ids, uuid4()])

        assert [await b.state(id_) for id_ in ids] == [DeliveryState.SENT] * COUNT
        assert len(b.factory.sent) == COUNT


async def test_what_is_held_is_bounded_by_its_bytes(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry, capacity=SLOTS) as b:
        paused = Paused()
        b.factory.behaviour = paused
        ids = await large(b, COUNT)
        handing_over = asyncio.create_task(b.hand_over(ids))
        await paused.reached.wait()
        held = b.engine._capacity.held

        assert held * SLOT_BYTES <= SLOTS * SLOT_BYTES + MAX_CLAIM_BYTES + 2 * FILE_BYTES
        assert held < COUNT * slots_of(bytes(FILE_BYTES))

        paused.go.set()
        await handing_over
        await b.settled()
        assert [await b.state(id_) for id_ in ids] == [DeliveryState.SENT] * COUNT
        assert b.engine._capacity.held == 0
