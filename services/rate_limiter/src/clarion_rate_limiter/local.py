"""Limits of this process alone: what decides while Valkey is away, with the same answers as far as it has seen."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clarion_rate_limiter.domain import Algorithm, Grant, Item, Limit

MAX_ENTRIES = 200_000
"""Ids and levels that are kept; about 40 MB. Beyond, the keys that were not used for longest are forgotten."""

_Name = tuple[int, str]


@dataclass(slots=True)
class _Window:
    """Ids by the time they were taken, oldest first."""

    taken: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    @property
    def entries(self) -> int:
        return len(self.taken) + 1

    def prune(self, since: int) -> None:
        while self.taken and next(iter(self.taken.values())) <= since:
            self.taken.popitem(last=False)


@dataclass(slots=True)
class _Level:
    at: int = 0
    level: int = 0

    @property
    def entries(self) -> int:
        return 1

    def now(self, now: int, limit: int) -> int:
        return max(0, self.level - max(0, now - self.at) * limit)


_State = _Window | _Level


@dataclass(frozen=True, slots=True)
class _View:
    """A limit as an item meets it: microseconds until it opens (0: open), what is left, what a take does."""

    wait_us: int
    left: int
    take: Callable[[], None] | None


class LocalLimits:
    """Bounded, for one event loop. `clock` gives microseconds that never step back."""

    def __init__(self, clock: Callable[[], int], max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._states: OrderedDict[_Name, _State] = OrderedDict()
        self._entries = 0

    def decide(self, items: Sequence[Item], *, take: bool) -> list[Grant]:
        """In the order of the items, one after the other, all at one moment. Every grant is marked unchecked."""
        now = self._clock()
        return [self._decide(item, now, take) for item in items]

    def _decide(self, item: Item, now: int, take: bool) -> Grant:
        views: list[_View] = []
        for index, limit in enumerate(item.limits):
            view = self._view(item, limit, now)
            if view.wait_us:
                return Grant(index, view.wait_us, (), unchecked=True)
            views.append(view)
        if take:
            for view in views:
                if view.take:
                    view.take()
            self._forget_beyond_bound()
        lefts = tuple(max(0, view.left - (1 if take and view.take else 0)) for view in views)
        return Grant(None, 0, lefts, unchecked=True)

    def _view(self, item: Item, limit: Limit, now: int) -> _View:
        name = (item.app_id, limit.name)
        if limit.algorithm is Algorithm.WINDOW:
            return self._window(name, item.id, limit, now)
        return self._level(name, limit, now)

    def _window(self, name: _Name, taker: bytes, limit: Limit, now: int) -> _View:
        found = self._states.get(name)
        window = found if isinstance(found, _Window) else _Window()
        before = window.entries
        window.prune(now - limit.window_us)
        if found is not None:
            self._entries -= before - window.entries
        count = len(window.taken)
        if taker in window.taken:
            return _View(0, limit.limit - count, None)
        if count >= limit.limit:
            opens = list(window.taken.values())[count - limit.limit] + limit.window_us
            return _View(opens - now, 0, None)

        def take() -> None:
            self._keep(name, window)
            window.taken[taker] = now
            self._entries += 1

        return _View(0, limit.limit - count, take)

    def _level(self, name: _Name, limit: Limit, now: int) -> _View:
        found = self._states.get(name)
        state = found if isinstance(found, _Level) else _Level()
        level = state.now(now, limit.limit)
        room = limit.burst * limit.window_us - level
        if room < limit.window_us:
            return _View(-((room - limit.window_us) // limit.limit), 0, None)

        def take() -> None:
            self._keep(name, state)
            state.at, state.level = max(now, state.at), level + limit.window_us

        return _View(0, room // limit.window_us, take)

    def _keep(self, name: _Name, state: _State) -> None:
        if name not in self._states:
            self._states[name] = state
            self._entries += state.entries
        self._states.move_to_end(name)

    def _forget_beyond_bound(self) -> None:
        while self._entries > self._max_entries:
            _, forgotten = self._states.popitem(last=False)
            self._entries -= forgotten.entries
