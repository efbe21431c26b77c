"""Ctrl-C and SIGTERM end a command in order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def until_signalled(work: Coroutine[None, None, T]) -> T | None:
    """The result of `work`, or None where SIGINT or SIGTERM ended it.

    The first signal cancels the work, which then stops in order; more signals do not cut that short.
    """
    loop = asyncio.get_running_loop()
    signalled = False
    task = asyncio.ensure_future(work)

    def stop() -> None:
        nonlocal signalled
        if not signalled:
            signalled = True
            task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if not signalled:
            raise
        return None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
