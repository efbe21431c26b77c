"""Calls that wait, by app: apps take turns, so that the many calls of one do not stand in front of another's few."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

CallT = TypeVar("CallT")


class Turns(Generic[CallT]):
    """First come, first served within an app; between apps one call each in turn. A call has a size, its notifications."""

    def __init__(self) -> None:
        self._calls: dict[int, deque[tuple[CallT, int]]] = {}
        self._sizes: dict[int, int] = {}
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._calls)

    def size_of(self, app_id: int) -> int:
        """What waits of one app."""
        return self._sizes.get(app_id, 0)

    def put(self, app_id: int, call: CallT, size: int) -> None:
        self._calls.setdefault(app_id, deque()).append((call, size))
        self._count(app_id, size)

    def take(self, most: int) -> Iterator[CallT]:
        """Calls of `most` notifications together, or one that is larger. An app whose next call has no room left is first
        the next time."""
        taken = 0
        while self._calls:
            app_id, calls = next(iter(self._calls.items()))
            call, size = calls[0]
            if taken and taken + size > most:
                return
            calls.popleft()
            del self._calls[app_id]
            if calls:
                self._calls[app_id] = calls
            self._count(app_id, -size)
            taken += size
            yield call

    def _count(self, app_id: int, size: int) -> None:
        self.size += size
        self._sizes[app_id] = self.size_of(app_id) + size
        if not self._sizes[app_id]:
            del self._sizes[app_id]
