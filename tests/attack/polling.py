"""Waiting for what nobody is told of."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

LOOK_AGAIN_SECONDS = 0.1


async def until(holds: Callable[[], Awaitable[object]], within: timedelta = timedelta(minutes=1)) -> None:
    """Return once `holds` gives something true. Raises TimeoutError."""
    async with asyncio.timeout(within.total_seconds()):
        while True:
            if await holds():
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
