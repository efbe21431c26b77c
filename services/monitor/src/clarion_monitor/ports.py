"""What the monitor looks at, remembers in, and tells."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from clarion_kit.errors import Unavailable
from clarion_kit.vocabulary import Channel
from clarion_monitor.accounts import AccountsLook
from clarion_monitor.causes import Failures, Stopped, StreamState
from clarion_monitor.domain import AppBacklog, Backlog, Findings, Kind, Queue, Reading
from clarion_monitor.notices import Notice
from clarion_monitor.stalls import Consumer, Stall
from clarion_monitor.webhooks import SwitchedOff


class BusRefuses(Unavailable):
    """The bus is connected, and JetStream answers or stores nothing."""

    dependency = "bus"


class SinkFailed(Exception):
    """A sink did not take a message; the text says why, without what was sent or where."""


@dataclass(frozen=True, slots=True)
class BusLook:
    """Everything of the bus at one moment."""

    queues: Sequence[Queue]
    consumers: Sequence[Consumer]
    streams: Sequence[StreamState]


class Bus(Protocol):
    async def look(self) -> BusLook:
        """Every lane and stream of the mesh, with proof that it stores. Raises BusRefuses, Unavailable."""
        ...

    async def heal(self, stall: Stall) -> None:
        """Resume or make anew. Raises Unavailable."""
        ...


class Ledger(Protocol):
    async def backlog(self) -> list[Backlog]:
        """States that have rows. Raises Unavailable."""
        ...

    async def backlog_by_app(self) -> list[AppBacklog]:
        """Apps that have rows, most first; bounded. Raises Unavailable."""
        ...

    async def dead_letters(self) -> Mapping[Channel, int]:
        """Channels that have dead letters which were not redriven. Raises Unavailable."""
        ...

    async def failures(self, window: timedelta) -> list[Failures]:
        """What failed lately, by cause, most first. Raises Unavailable."""
        ...

    async def stops(self) -> list[Stopped]:
        """Accounts that take no work. Raises Unavailable."""
        ...

    async def webhooks_off(self) -> list[SwitchedOff]:
        """Webhooks of apps that a tracker switched off, the latest first; bounded. Raises Unavailable."""
        ...

    async def audit(self) -> Findings:
        """What is wrong with what happened since the last look, and still wrong of earlier ones. Raises Unavailable."""
        ...


class Accounts(Protocol):
    """Provider accounts, as the ledger knows them."""

    async def look(self, window: timedelta) -> AccountsLook:
        """How they stand, and what they answered lately, within the window. Raises Unavailable."""
        ...


class Incidents(Protocol):
    """Incidents as all monitors share them."""

    async def settle(self, kind: Kind, passed: Sequence[Reading]) -> None:
        """Open or keep open what is passed now, after a whole look at everything of a kind; what was not seen for a while
        is over. Raises Unavailable."""
        ...

    async def open_by_kind(self) -> Mapping[Kind, int]:
        """How many are not over. Raises Unavailable."""
        ...

    async def claim(self, sinks: Collection[str]) -> list[Notice]:
        """What is due to be told to these sinks, for the caller alone for a minute. Raises Unavailable."""
        ...

    async def told(self, notice: Notice) -> None:
        """The sink took it. Raises Unavailable."""
        ...

    async def put_off(self, notice: Notice) -> None:
        """The sink did not take it: it is due again after a pause that doubles. Raises Unavailable."""
        ...

    async def forget(self) -> None:
        """Drop what is long over. Raises Unavailable."""
        ...


class Sink(Protocol):
    """Where developers are told."""

    @property
    def name(self) -> str:
        """Names it in the ledger, in metrics and logs."""
        ...

    async def tell(self, notice: Notice) -> None:
        """Hand over one message, bounded in time. Raises SinkFailed."""
        ...
