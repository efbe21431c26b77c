"""Both sides' records of a stretch of time: our ledger's deliveries, the sandbox's messages, and whether they agree."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from clarion_ledger.audit import audit
from clarion_ledger.db import Pool, connection
from clarion_local.bench.world import World
from clarion_local.demo import matching

_SECONDS = 600.0
_LOOK_SECONDS = 0.5
_STANDSTILL_SECONDS = 60.0
_SENT = 20
_TAKE_TIME = f"SET LOCAL statement_timeout = '{_SECONDS:.0f}s'; SET LOCAL plan_cache_mode = force_custom_plan"
_NOW = "SELECT date_trunc('milliseconds', clock_timestamp())"
_DELIVERIES = """
SELECT d.id, n.event_id, d.state, d.channel, d.priority, l.kind, d.provider_message_id,
       extract(epoch FROM n.accepted_at)::float8 AS accepted, extract(epoch FROM d.planned_at)::float8 AS planned
FROM ledger.delivery d
JOIN ledger.notification n ON n.id = d.notification_id
LEFT JOIN ledger.lane l ON l.lane_id = d.lane_id
WHERE d.app_id = $1 AND d.id >= ledger.uuid_floor($2) AND n.accepted_at >= $2
"""
_IN_FLIGHT = """
SELECT (SELECT count(*) FROM ledger.plan_work) + (SELECT count(*) FROM ledger.delivery_work)
     + (SELECT count(*) FROM ledger.schedule WHERE deliver_at < now() + interval '1 hour')
"""


class Stuck(Exception):
    """Nothing has moved for a minute, and not all has arrived."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery and, if the sandbox has it, when it took it; moments in Unix seconds."""

    delivery_id: str
    event_id: str
    state: int
    channel: int
    priority: int
    kind: str
    message_id: str
    accepted: float
    planned: float
    received: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in both records: later entries are of what came after."""

    since: datetime
    offset: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A stretch, closed: `unaccounted` by our audit, `mismatch` against the sandbox; both are 0 or something is wrong."""

    deliveries: list[Sent] = field(repr=False)
    states: dict[int, int]
    accepted: int
    unaccounted: int
    mismatch: int
    findings: dict[str, int]

    @property
    def received(self) -> list[float]:
        """When the sandbox took each delivery."""
        return [sent.received for sent in self.deliveries if sent.received is not None]

    def proof(self) -> dict[str, object]:
        """What closed it, for the results."""
        return {
            "accepted": self.accepted,
            "deliveries": len(self.deliveries),
            "sent": self.states.get(_SENT, 0),
            "unaccounted": self.unaccounted,
            "provider_mismatch": self.mismatch,
            "findings": self.findings,
        }


async def mark(world: World) -> Mark:
    """From here on. Raises LedgerUnavailable."""
    async with connection(world.pool) as db:
        since: datetime = await db.fetchval(_NOW)
    return Mark(since, world.sandbox_ledger.stat().st_size if world.sandbox_ledger.exists() else 0)


async def until_taken(world: World, count: int, before: int, tell: Callable[[int, int], None]) -> None:
    """Wait until the providers have `count` messages more than `before`; `tell` hears how many of how many. Raises Stuck."""
    clock = asyncio.get_running_loop()
    last, moved_at = -1, clock.time()
    while (now := await asyncio.to_thread(world.room.accepted) - before) < count:
        tell(max(now, 0), count)
        if now != last:
            last, moved_at = now, clock.time()
        elif clock.time() - moved_at > _STANDSTILL_SECONDS:
            raise Stuck(f"{now} of {count} messages came, and none for {_STANDSTILL_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def until_settled(pool: Pool, beside: int = 0) -> None:
    """Wait until nothing but `beside` rows is in flight. Raises Stuck, LedgerUnavailable."""
    clock = asyncio.get_running_loop()
    last, moved_at = -1, clock.time()
    while (now := await in_flight(pool)) > beside:
        if now != last:
            last, moved_at = now, clock.time()
        elif clock.time() - moved_at > _STANDSTILL_SECONDS:
            raise Stuck(f"{now} are in flight and none has ended for {_STANDSTILL_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def in_flight(pool: Pool) -> int:
    """Rows that have not ended, sends of the next hour included. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        count: int = await db.fetchval(_IN_FLIGHT)
    return count


async def close(world: World, since: Mark) -> Closing:
    """Compare everything since a mark, once nothing is in flight any more. Raises Stuck, LedgerUnavailable, OSError."""
    await until_settled(world.pool)
    # The sandbox writes its lines within 50 ms; asking for its ledger writes what is pending.
    await asyncio.to_thread(world.room.entries)
    await asyncio.sleep(0.1)
    messages, received = await asyncio.to_thread(_messages, world.sandbox_ledger, since.offset)
    async with connection(world.pool) as db, db.transaction(readonly=True):
        await db.execute(_TAKE_TIME)
        rows = await db.fetch(_DELIVERIES, world.app_id, since.since, timeout=_SECONDS)
    deliveries = [
        Sent(
            str(row["id"]),
            row["event_id"],
            row["state"],
            row["channel"],
            row["priority"],
            row["kind"] or "",
            row["provider_message_id"] or "",
            row["accepted"],
            row["planned"],
            received.get(matching.message_key(row["kind"] or "", row["provider_message_id"] or "")),
        )
        for row in rows
    ]
    ours = [matching.SentDelivery(d.delivery_id, d.kind, d.message_id) for d in deliveries if d.state == _SENT]
    mismatch = await asyncio.to_thread(matching.compare, ours, messages)
    found = await audit(world.pool, since=since.since, app_id=world.app_id)
    return Closing(deliveries, found.states, found.accepted, found.unaccounted, mismatch.count, dict(found.findings))


def _messages(path: Path, offset: int) -> tuple[Sequence[matching.TakenMessage], dict[tuple[str, str], float]]:
    """What the sandbox took beyond a place in its file, and when, by what both sides know a message by."""
    messages: list[matching.TakenMessage] = []
    received: dict[tuple[str, str], float] = {}
    for entry in _lines(path, offset):
        if entry["accepted"] is True:
            kind, message_id = str(entry["provider"]), str(entry["message_id"])
            messages.append(matching.TakenMessage(int(str(entry["n"])), kind, message_id))
            received.setdefault(matching.message_key(kind, message_id), float(str(entry["received_at"])))
    return messages, received


def _lines(path: Path, offset: int) -> Iterator[dict[str, object]]:
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)
