"""What the monitor looks at."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from clarion_kit.vocabulary import Channel
from clarion_monitor.domain import Backlog, Findings, Queue


class Bus(Protocol):
    async def queues(self) -> list[Queue]:
        """Every lane of the mesh. Raises Unavailable."""
        ...


class Ledger(Protocol):
    async def backlog(self) -> list[Backlog]:
        """States that have rows. Raises Unavailable."""
        ...

    async def dead_letters(self) -> Mapping[Channel, int]:
        """Channels that have dead letters which were not redriven. Raises Unavailable."""
        ...

    async def audit(self, window: timedelta) -> Findings:
        """What is wrong with the latest part of the ledger. Raises Unavailable."""
        ...
