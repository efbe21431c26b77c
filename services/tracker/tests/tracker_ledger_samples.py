"""SMS deliveries in a real ledger, planned, leased and sent."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from clarion_channels.engine.outcomes import receipt_keys
from clarion_channels.outcome import Outcome, Result
from clarion_kit.vocabulary import Channel, DeliveryState, Priority
from clarion_ledger.accept import Accepted, AcceptItem, accept
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Claimed, Record, claim, record
from clarion_ledger.ids import delivery_id
from clarion_ledger.planning import Plan, PlannedDelivery, load, plan
from clarion_testkit.plugin import App


@dataclass(frozen=True, slots=True)
class Sms:
    """A claimed delivery of a lane."""

    lane_id: int
    claimed: Claimed

    @property
    def id(self) -> UUID:
        return self.claimed.delivery_id


async def sms_lane(pool: Pool, app: App) -> int:
    lane_id: int = await pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'smpp', 4, '') RETURNING lane_id",
        app.app_id,
        f"lane-{uuid4().hex[:8]}",
    )
    return lane_id


async def claimed_sms(pool: Pool, app: App, lane_id: int | None = None, country: str | None = None) -> Sms:
    """A delivery under lease."""
    lane_id = lane_id or await sms_lane(pool, app)
    [accepted] = await accept(pool, [_item(app)])
    assert isinstance(accepted, Accepted)
    [source] = await load(pool, [accepted.notification_id])
    recipient, address = uuid4(), uuid4()
    flying = PlannedDelivery(
        delivery_id(source.notification_id, recipient, Channel.SMS, address),
        recipient,
        Channel.SMS,
        address_id=address,
        lane_id=lane_id,
        country=country,
        address=b"address",
        content=b"content",
    )
    await plan(pool, [Plan(source, [flying], max_attempts=3, at_most_once=False)])
    [claimed] = await claim(pool, [flying.delivery_id], timedelta(seconds=30))
    return Sms(lane_id, claimed)


async def claimed_again(pool: Pool, sms: Sms) -> Sms:
    """The same delivery, due once more and leased by the same lane."""
    await pool.execute(
        "UPDATE ledger.delivery_work SET state = 2, due_at = NULL, enqueued_at = now() WHERE delivery_id = $1", sms.id
    )
    [claimed] = await claim(pool, [sms.id], timedelta(seconds=30))
    return Sms(sms.lane_id, claimed)


async def send(pool: Pool, sms: Sms, *message_ids: str) -> None:
    """Record that the carrier took it, under an id for each segment."""
    await record_answer(pool, sms, DeliveryState.SENT, Outcome.ACCEPTED, message_ids)


async def record_answer(
    pool: Pool, sms: Sms, state: DeliveryState, outcome: Outcome, message_ids: Sequence[str]
) -> None:
    """Record a carrier's answer; "" stands for a segment that it did not take."""
    result = Result(outcome, provider_message_id=",".join(filter(None, message_ids)), receipt_ids=tuple(message_ids))
    keys = receipt_keys(sms.lane_id, result)
    done = Record(
        sms.claimed,
        state,
        outcome=result.outcome,
        code="0x00",
        provider_message_id=result.provider_message_id,
        receipt_key=keys[0] if keys else "",
        segments=keys if len(keys) > 1 else (),
        duration=timedelta(milliseconds=5),
    )
    assert await record(pool, [done]) == {sms.id}


async def receipt_of(pool: Pool, sms: Sms) -> int:
    found: int = await pool.fetchval("SELECT receipt FROM ledger.delivery WHERE id = $1", sms.id)
    return found


def _item(app: App) -> AcceptItem:
    return AcceptItem(
        app_id=app.app_id,
        event_id=uuid4().hex,
        payload_hash=hashlib.sha256(b"sealed").digest(),
        category_id=app.categories["transactional"],
        priority=Priority.NORMAL,
        recipient_count=1,
        deliver_at=None,
        expire_at=None,
        time_to_live=timedelta(hours=1),
        payload=b"sealed",
        traceparent="",
        enqueue=True,
    )
