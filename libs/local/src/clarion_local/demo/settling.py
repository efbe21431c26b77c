"""Waits, within bounds, until nothing is in flight and what should come back has come."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from clarion_ledger.db import Pool
from clarion_local.demo import record
from clarion_local.demo.practice_room import PracticeRoom, look_at

SETTLE_LIMIT = timedelta(seconds=60)
"""From the last acceptance: four attempts with backoff and the receipts of the last SMS take a quarter of it."""
OPENS_LIMIT = timedelta(seconds=5)
OPENED_MAILS = 40
_POLL_SECONDS = 0.25


async def until_settled(
    look: Callable[[], Awaitable[record.Pending]], handing_in: Callable[[], bool], limit: timedelta = SETTLE_LIMIT
) -> record.Pending:
    """What is pending when nothing is, or when `limit` has passed since handing in ended."""
    while handing_in():
        await look()
        await asyncio.sleep(_POLL_SECONDS)
    clock = asyncio.get_running_loop()
    deadline = clock.time() + limit.total_seconds()
    pending = await look()
    while pending.total and clock.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        pending = await look()
    return pending


async def open_mails(room: PracticeRoom, pool: Pool, app_id: int, since: datetime, mails: list[int]) -> int:
    """Open the newest of `mails` (numbers in the sandbox's ledger) and wait until the ledger says so; how many are seen.

    Opens promise nothing, so a missing one is not an error here. Raises OSError, LedgerUnavailable.
    """
    opened = 0
    for n in mails[-OPENED_MAILS:]:
        pixel = await asyncio.to_thread(room.open_pixel, n)
        if pixel is not None:
            await asyncio.to_thread(look_at, pixel)
            opened += 1
    clock = asyncio.get_running_loop()
    deadline = clock.time() + OPENS_LIMIT.total_seconds()
    while (seen := await record.seen(pool, app_id, since)) < opened and clock.time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
    return seen
