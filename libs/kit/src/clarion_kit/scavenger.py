"""Bulk takes what others leave: it goes slower as soon as it makes them late, after LEDBAT (RFC 6817).

What bulk and everything else share may be anything, a core, the database, a provider; that it is short shows in the delay of
the others, and in nothing else that a daemon can see. Each daemon watches how long what is not bulk waited until its stage
had it. While that is more than `TARGET` above what it is at best, bulk goes in smaller steps with ever longer pauses
between them; when it is not, or nobody else is there, the pauses end. Bulk never stands still: a pause is bounded.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

TARGET = timedelta(milliseconds=20)
"""By how much bulk may delay others in one stage."""
LONGEST_PAUSE = timedelta(milliseconds=250)
_FIRST_PAUSE = 0.1
_SLOWER, _FASTER = 1.5, 0.85
_DECIDE_SECONDS = 0.1
"""Between two decisions: what the last one did must show first."""
_NOBODY_SECONDS = 2.0
"""After so long without anybody else, bulk has everything."""
_BASE_SECONDS = 60.0
"""The best delay is that of this window and the one before, so that clocks that drift apart are followed."""
_TOO_OLD_SECONDS = 30.0
"""What waited longer did so for another reason: it rested, was due later, or its stage was away."""
SMALL_STEP = 4
"""Bulk that yields goes in steps of this part."""


class Scavenger:
    """How bulk goes in one stage of one daemon."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: monotonic seconds."""
        self._clock = clock
        self._one = asyncio.Lock()
        self._pause = 0.0
        self._seen_at = float("-inf")
        self._decided_at = float("-inf")
        self._worst = 0.0
        self._best = [float("inf"), float("inf")]
        self._window_ends = float("-inf")

    @property
    def yields(self) -> bool:
        """Whether somebody else would be late."""
        return self._pause > 0.0 and self._clock() - self._seen_at < _NOBODY_SECONDS

    @property
    def pause_seconds(self) -> float:
        """How long bulk waits before each step."""
        return self._pause if self.yields else 0.0

    def waited(self, seconds: float) -> None:
        """Something that is not bulk is here after so long. The clocks of both ends may differ: only changes count."""
        if seconds > _TOO_OLD_SECONDS:
            return
        now = self._clock()
        if now > self._window_ends:
            self._best = [float("inf"), self._best[0]]
            self._window_ends = now + _BASE_SECONDS
        self._best[0] = min(self._best[0], seconds)
        if now - self._seen_at > _NOBODY_SECONDS:
            self._pause = self._worst = 0.0
        self._seen_at = now
        self._worst = max(self._worst, seconds - min(self._best))
        if now - self._decided_at >= _DECIDE_SECONDS:
            self._decided_at = now
            self._decide()

    async def step(self, most: int) -> int:
        """Wait for the pause, if there is one; gives how many of `most` go in the step that begins now. Whoever else asks
        waits for the pause after that: how many loops bulk has makes it no faster."""
        if not self.yields:
            return most
        async with self._one:
            await asyncio.sleep(self.pause_seconds)
        return max(1, most // SMALL_STEP)

    def _decide(self) -> None:
        late, self._worst = self._worst > TARGET.total_seconds(), 0.0
        if late:
            self._pause = min(max(self._pause * _SLOWER, _FIRST_PAUSE), LONGEST_PAUSE.total_seconds())
        else:
            self._pause = self._pause * _FASTER if self._pause > _FIRST_PAUSE else 0.0
