"""Waits, within bounds, until nothing is in flight and what should come back has come."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from http.client import HTTPException

from clarion_local.demo import record
from clarion_local.demo.practice_room import PracticeRoom

SETTLE_LIMIT = timedelta(seconds=100)
"""From the last acceptance: four attempts with backoff and the receipts of the last SMS take 15 s of it, and an account that its
breaker stopped goes on after half a minute."""
OPENS_LIMIT = timedelta(seconds=5)
OPENED_MAILS = 40
_POLL = timedelta(milliseconds=250)


async def until_settled(
    look: Callable[[], Awaitable[record.Pending]],
    handing_in: Callable[[], bool],
    limit: timedelta = SETTLE_LIMIT,
    pause: timedelta = _POLL,
) -> record.Pending:
    """What is pending when nothing is, or when `limit` has passed since handing in ended; looks again after `pause`."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + limit.total_seconds()
    pending = await look()
    while handing_in() or (pending.total and clock.time() < deadline):
        if handing_in():
            deadline = clock.time() + limit.total_seconds()
        await asyncio.sleep(pause.total_seconds())
        pending = await look()
    return pending


async def open_mails(room: PracticeRoom, mails: Sequence[int], seen: Callable[[], Awaitable[int]]) -> int:
    """Open the newest of `mails` (numbers in the sandbox's ledger) and wait until the ledger says so; how many it says.

    Opens promise nothing, so one that is missing is no error here. Raises OSError (the sandbox) and what `seen` raises.
    """
    opened = 0
    for n in mails[-OPENED_MAILS:]:
        pixel = await asyncio.to_thread(room.open_pixel, n)
        if pixel is not None:
            with suppress(OSError, HTTPException):
                await asyncio.to_thread(room.look_at, pixel)
                opened += 1
    clock = asyncio.get_running_loop()
    deadline = clock.time() + OPENS_LIMIT.total_seconds()
    while (count := await seen()) < opened and clock.time() < deadline:  # noqa: ASYNC110  # only the ledger knows
        await asyncio.sleep(_POLL.total_seconds())
    return count
