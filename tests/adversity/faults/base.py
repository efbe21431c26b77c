"""What a fault is: something that is done to a world, undone, and proven to have happened."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from enum import StrEnum
from random import Random
from typing import ClassVar

from tests.adversity.world import World


class Part(StrEnum):
    """What a fault occupies: two faults at once never touch the same part."""

    GATEWAY = "gateway"
    PLANNER = "planner"
    DISPATCHERS = "dispatchers"
    SCHEDULER = "scheduler"
    PEERS = "peers"
    SIDE = "side"
    """Tracker and monitor."""
    POSTGRES = "postgres"
    NATS = "nats"
    VALKEY = "valkey"
    PROVIDERS = "providers"
    COLLECTOR = "collector"


class NotFired(Exception):
    """A fault that left no trace: the suite proves nothing with it."""


class Violation(Exception):
    """The mesh did what the row forbids, or did not do what it demands."""


class Fault(ABC):
    """One occurrence of one row of the table of faults.

    `inject`, then `hold`, then `heal`, always in this order and `heal` in any case; then `prove`, which raises NotFired
    where the fault left no trace and Violation where the row's demand, beyond losing nothing, was not met.
    """

    row: ClassVar[int]
    name: ClassVar[str]
    parts: ClassVar[Collection[Part]]
    hold_seconds: ClassVar[tuple[float, float]] = (0.5, 1.5)
    share: ClassVar[int] = 4
    """How often it is drawn, compared with the others."""
    settles_within: ClassVar[float | None] = None
    """Seconds from its end until nothing older may wait for the mesh, its parts untouched meanwhile; None: it settles with
    its wave."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random

    @abstractmethod
    async def inject(self) -> None: ...

    async def hold(self) -> None:
        """Let it last; a drawn time within `hold_seconds`, unless there is an end to wait for."""
        await asyncio.sleep(self.random.uniform(*self.hold_seconds))

    @abstractmethod
    async def heal(self) -> None: ...

    @abstractmethod
    async def prove(self) -> None: ...

    def one_of(self, names: Sequence[str]) -> str:
        return self.random.choice(names)


def fired(happened: bool, what: str) -> None:
    """Raises NotFired with what is missing."""
    if not happened:
        raise NotFired(what)


def demand(held: bool, what: str) -> None:
    """Raises Violation with what was demanded."""
    if not held:
        raise Violation(what)
