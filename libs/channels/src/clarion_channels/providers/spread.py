"""Sending the messages of a batch side by side, for providers whose protocol takes one message per request."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report


class Progress:
    """How far one message came, for the moment when its sending is cut off."""

    def __init__(self) -> None:
        self._unanswered = False

    @property
    def unanswered(self) -> bool:
        """Whether something was written that the provider may act on and has not answered yet."""
        return self._unanswered

    def written(self) -> None:
        """The request goes out now."""
        self._unanswered = True

    def answered(self) -> None:
        """The answer to what was written is here."""
        self._unanswered = False

    def cut_off(self, code: str) -> Result:
        """The result of a message that gets no further: UNKNOWN if it may have been taken, else RETRY."""
        return Result(Outcome.UNKNOWN if self._unanswered else Outcome.RETRY, code=code)


SendOne = Callable[[Message, Progress], Awaitable[Result]]


async def spread(
    batch: Sequence[Message], report: Report, send_one: SendOne, *, width: int, timeout: timedelta
) -> None:
    """Send each message of `batch` by `send_one`, at most `width` at once, and report each exactly once.

    A message that takes longer than `timeout` from its turn on is cut off with the code "timeout". When cancelled, or
    when `send_one` raises, the messages under way are cut off and those still waiting are RETRY, with the code
    "cancelled".
    """
    waiting = deque(batch)

    async def work() -> None:
        while waiting:
            message = waiting.popleft()
            progress = Progress()
            result: Result | None = None
            try:
                async with asyncio.timeout(timeout.total_seconds()):
                    result = await send_one(message, progress)
            except TimeoutError:
                result = progress.cut_off("timeout")
            finally:
                report(message, progress.cut_off("cancelled") if result is None else result)

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(len(batch), width)):
                workers.create_task(work())
    finally:
        for message in waiting:
            report(message, Result(Outcome.RETRY, code="cancelled"))
