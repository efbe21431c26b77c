"""Noticing SMS pumping: an app is made to text many numbers of one range, whose owner is paid for it. No I/O.

A range is a burst when more than `numbers` of its numbers were asked for within the window and they are at least `share`
of all the app texted: a campaign reaches many numbers of every range, an attack reaches many of one. Refused ones count on,
so that a burst ends when it is no longer tried.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

WINDOW_SECONDS = 600.0
MAX_NUMBERS = 100_000
"""Remembered together, some 10 MB: where more come, the window is shorter."""

Range: TypeAlias = tuple[int, str]
"""App and bucket (clarion_kit.number_hint)."""


@dataclass(slots=True)
class _Half:
    """Numbers of one half of the window; `fresh` ones were not in the half before."""

    since: float = 0.0
    seen: dict[Range, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    seen_by_app: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    fresh: dict[Range, int] = field(default_factory=lambda: defaultdict(int))
    fresh_by_app: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    count: int = 0


class BurstWatch:
    """Counts the distinct numbers of each range, over half to a whole window. `numbers` 0: nothing is a burst."""

    def __init__(self, numbers: int, share: float) -> None:
        self._numbers = numbers
        self._share = share
        self._before = _Half()
        self._now = _Half()

    def note(self, app_id: int, bucket: str, address_id: bytes, now: float) -> bool:
        """Note that a number is to be texted; whether its range is a burst. `now`: monotonic seconds."""
        if not self._numbers:
            return False
        self._turn(now)
        key = (app_id, bucket)
        half = self._now
        before: Collection[bytes] = self._before.seen.get(key, ())
        if address_id not in half.seen[key]:
            half.seen[key].add(address_id)
            half.seen_by_app[app_id] += 1
            half.count += 1
            if address_id not in before:
                half.fresh[key] += 1
                half.fresh_by_app[app_id] += 1
        found = len(before) + half.fresh[key]
        of_all = self._before.seen_by_app.get(app_id, 0) + half.fresh_by_app[app_id]
        return found > self._numbers and found >= self._share * of_all

    def _turn(self, now: float) -> None:
        age = now - self._now.since
        if age >= WINDOW_SECONDS / 2 or self._now.count >= MAX_NUMBERS // 2:
            self._before = self._now if age < WINDOW_SECONDS else _Half()
            self._now = _Half(now)
