"""Waiting for what a server can only be asked for again and again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

_BETWEEN_SECONDS: Final = 0.02


async def until(is_so: Callable[[], Awaitable[bool]], limit: timedelta) -> None:
    """Ask until the answer is yes. Raises TimeoutError after `limit`, also amid an answer."""
    async with asyncio.timeout(limit.total_seconds()):
        while True:
            if await is_so():
                return
            await asyncio.sleep(_BETWEEN_SECONDS)
