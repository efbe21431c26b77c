"""What a replica remembers: which version is published (for a second), and compiled versions (within a budget)."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from clarion.template.v1.template_service_pb2 import Template
from clarion_kit.clock import Clock
from clarion_kit.errors import Unavailable
from clarion_template.compiled import CompiledVersion, Outline
from clarion_template.domain import VersionKey
from clarion_template.ports import Store
from clarion_template.source.lexer import SourceFault

REFRESH = timedelta(seconds=1)
MAX_NAMES = 20_000

Name = tuple[int, str]
"""App and template name."""


@dataclass(frozen=True, slots=True)
class Published:
    """Versions of a template, 0 where there is none, as known at a monotonic second."""

    version: int
    latest: int
    known_at: float
    archived: bool = False


class Catalog:
    """Published versions and their compiled form. Used by one event loop."""

    def __init__(self, store: Store, clock: Clock, budget_bytes: int) -> None:
        self._store = store
        self._clock = clock
        self._budget = budget_bytes
        self._published: OrderedDict[Name, Published] = OrderedDict()
        self._compiled: OrderedDict[VersionKey, CompiledVersion] = OrderedDict()
        self._weight = 0
        self._changes = 0

    async def published(self, names: Iterable[Name]) -> dict[Name, Published]:
        """The versions of each name, at most a second old; older ones serve while the store is away.

        Raises Unavailable if the store is away and a name was never seen.
        """
        now = self._clock.monotonic()
        fresh_since = now - REFRESH.total_seconds()
        wanted = dict.fromkeys(names)
        stale = [
            name for name in wanted if (known := self._published.get(name)) is None or known.known_at < fresh_since
        ]
        answer = {name: self._published[name] for name in wanted if name in self._published}
        if stale:
            changes = self._changes
            try:
                found = await self._store.published(stale)
            except Unavailable:
                if any(name not in answer for name in stale):
                    raise
                return answer
            for name, current in zip(stale, found, strict=True):
                answer[name] = Published(current.published, current.latest, now, current.archived)
                if changes == self._changes:  # else this may be older than a publication made here meanwhile
                    self._remember(name, answer[name])
        return answer

    def forget(self, app_id: int, name: str) -> None:
        """Something was stored or published here: look again at once."""
        self._changes += 1
        self._published.pop((app_id, name), None)

    async def version(self, key: VersionKey) -> CompiledVersion | None:
        """The compiled version, None if there is no such. Raises Unavailable."""
        compiled = self._compiled.get(key)
        if compiled is not None:
            self._compiled.move_to_end(key)
            return compiled
        stored = await self._store.get(key)
        if stored is None:
            return None
        if (raced := self._compiled.get(key)) is not None:
            return raced
        compiled = CompiledVersion(key, Template.FromString(stored.document))
        self._compiled[key] = compiled
        self._weight += compiled.weight
        while self._weight > self._budget and len(self._compiled) > 1:
            _, evicted = self._compiled.popitem(last=False)
            self._weight -= evicted.weight
        return compiled

    async def outline(self, key: VersionKey) -> Outline | None:
        """What the edge must know of a version; None if there is no such, or its sources are no longer accepted.

        Raises Unavailable.
        """
        compiled = await self.version(key)
        if compiled is None:
            return None
        if compiled.known_outline is None:
            # Every locale is compiled for it, so not on the loop that renders, and in an environment of its own.
            try:
                compiled.known_outline = await asyncio.to_thread(CompiledVersion(key, compiled.template).outline)
            except SourceFault:
                return None
        return compiled.known_outline

    def _remember(self, name: Name, published: Published) -> None:
        self._published[name] = published
        self._published.move_to_end(name)
        while len(self._published) > MAX_NAMES:
            self._published.popitem(last=False)
