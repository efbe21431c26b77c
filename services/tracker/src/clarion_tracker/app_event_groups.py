"""Calls that come while a COMMIT is under way share the next one: a call alone waits for nobody, a flood for few flushes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from clarion_kit.errors import DomainError, Unavailable
from clarion_tracker.activity import AppEvent
from clarion_tracker.ports import AppEventRows

MOST_EVENTS = 1_000
"""Of one COMMIT; a single call may have fewer only."""


@dataclass(slots=True, eq=False)
class _Call:
    """`new`: how many of its events were, once they are committed."""

    events: Sequence[AppEvent]
    new: int | None = None
    fault: Unavailable | DomainError | None = None

    @property
    def over(self) -> bool:
        return self.new is not None or self.fault is not None


@dataclass(slots=True)
class _Group:
    """Calls in the order they came, which is the order of their turns: whose turn it is writes those behind it, too."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[_Call] = field(default_factory=list)

    def take(self) -> list[_Call]:
        count, events = 0, 0
        for call in self.waiting:
            events += len(call.events)
            if count and events > MOST_EVENTS:
                break
            count += 1
        batch = self.waiting[:count]
        del self.waiting[:count]
        return batch


class AppEventGroups:
    """`ports.AppEvents`. Calls of different apps share nothing, so what fails one app's fails no other's."""

    def __init__(self, rows: AppEventRows) -> None:
        self._rows = rows
        self._groups: dict[frozenset[int], _Group] = {}

    async def store(self, events: Sequence[AppEvent]) -> int:
        apps = frozenset(one.delivery.app_id for one in events)
        group = self._groups.setdefault(apps, _Group())
        call = _Call(events)
        group.waiting.append(call)
        try:
            async with group.turn:
                if not call.over:
                    await self._write(group, call)
        finally:
            if call in group.waiting:  # given up before its turn
                group.waiting.remove(call)
            if not group.waiting and not group.turn.locked():
                self._groups.pop(apps, None)
        if call.fault is not None:
            raise call.fault
        return call.new or 0

    async def _write(self, group: _Group, leader: _Call) -> None:
        batch = group.take()
        try:
            new = set(await self._rows.store([one for call in batch for one in call.events]))
            for call in batch:
                mine = new.intersection(one.identity for one in call.events)
                call.new = len(mine)
                new -= mine
        except (Unavailable, DomainError) as fault:
            for call in batch:
                call.fault = fault
        finally:
            # Given up amid the COMMIT: the others take their own turns, and what was committed is a repetition then.
            group.waiting[:0] = [call for call in batch if call is not leader and not call.over]
