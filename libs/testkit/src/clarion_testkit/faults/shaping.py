"""How one direction of a line treats what passes: at once, late, slowly, or not at all."""

import asyncio
import math
from collections.abc import Iterator

# A slow line passes pieces this long, so that a change of rate takes hold within it.
_PIECE_SECONDS = 0.05


class Shape:
    """The state of one direction. A change takes hold at once, also for what already waits."""

    def __init__(self) -> None:
        self.held = False
        self.delay_seconds = 0.0
        self.bytes_per_second: float | None = None
        self._changed = asyncio.Event()

    def hold(self) -> None:
        """Pass nothing until released."""
        self.held = True
        self._notify()

    def set_delay(self, seconds: float) -> None:
        self.delay_seconds = seconds
        self._notify()

    def set_rate(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self._notify()

    def release(self) -> None:
        """Pass everything at once."""
        self.held = False
        self.delay_seconds = 0.0
        self.bytes_per_second = None
        self._notify()

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk in pieces as large as the rate of the moment allows."""
        start = 0
        while start < len(chunk):
            size = len(chunk) if self.bytes_per_second is None else max(1, int(self.bytes_per_second * _PIECE_SECONDS))
            yield chunk[start : start + size]
            start += size

    def seconds_for(self, size: int) -> float:
        """How long `size` bytes occupy the line."""
        return 0.0 if self.bytes_per_second is None else size / self.bytes_per_second

    async def passes(self, sent_at: float, free_at: float) -> None:
        """Wait until what was sent at `sent_at` may arrive over a line that is free from `free_at` on (loop's clock)."""
        loop = asyncio.get_running_loop()
        while True:
            wait = self._wait(loop.time(), sent_at, free_at)
            if wait <= 0:
                return
            changed = self._changed
            try:
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await changed.wait()
            except TimeoutError:
                continue

    def _wait(self, now: float, sent_at: float, free_at: float) -> float:
        if self.held:
            return math.inf
        busy = 0.0 if self.bytes_per_second is None else free_at - now
        return max(sent_at + self.delay_seconds - now, busy)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
