"""Restart with much in flight: how long until the mesh serves again, and until what was under way moves on."""

import asyncio
import time
from pathlib import Path

from clarion_ledger.audit import audit
from clarion_local.bench import records, world
from clarion_local.bench.context import Context
from clarion_local.bench.sections.stages import STOP_GRACE

_WATCHED_SECONDS = 20.0
_SLOWEST_PER_SECOND = 2_500
"""So that there is still something in flight while it is watched."""


async def restart(context: Context, folder: Path) -> dict[str, object]:
    """Accept with the planner stopped, stop everything, start again; in a world of its own.

    What is left in flight is counted and audited, not waited for.
    """
    count = context.sizes.in_flight
    async with world.opened(folder, context.sizes.recipients) as place:
        first_ready = place.stack.ready_seconds
        await context.sent(place, "restart-warm-up", context.sizes.warm_up)
        since = await records.mark(place)
        await place.stack.fleet.stop("planner", STOP_GRACE)
        done = await context.load(place, "restart", "batch", count=count)
        waiting = await records.in_flight(place.pool)
        stopping = time.monotonic()
    stopped = time.monotonic() - stopping
    began = time.monotonic()
    async with world.opened(folder, context.sizes.recipients) as place:
        before = await asyncio.to_thread(place.room.accepted)
        await context.until_taken(place, 1, before)
        first = time.monotonic() - began
        watched = time.monotonic()
        await asyncio.sleep(min(_WATCHED_SECONDS, count / _SLOWEST_PER_SECOND))
        sent = await asyncio.to_thread(place.room.accepted) - before
        found = await audit(place.pool, since=since.since, app_id=place.app_id)
        context.proofs["restart"] = {
            "accepted": found.accepted,
            "lost": done.accepted - found.accepted,
            "in_flight": found.in_flight,
            "unaccounted": found.unaccounted + abs(done.accepted - found.accepted),
            "findings": dict(found.findings),
        }
        return {
            "in_flight": waiting,
            "first_ready_seconds": round(first_ready, 2),
            "stop_seconds": round(stopped, 2),
            "ready_seconds": round(place.stack.ready_seconds, 2),
            "first_sent_seconds": round(first, 2),
            "sent_per_s_after": round(sent / max(time.monotonic() - watched, 1e-9), 1),
        }
