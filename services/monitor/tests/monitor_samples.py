"""Fakes of the monitor's ports."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from clarion_kit.errors import Unavailable
from clarion_kit.vocabulary import Channel
from clarion_monitor.accounts import AccountsLook
from clarion_monitor.causes import Failures, Stopped, StreamState
from clarion_monitor.domain import AppBacklog, Backlog, Findings, Kind, Queue, Reading
from clarion_monitor.notices import Notice
from clarion_monitor.ports import BusLook
from clarion_monitor.stalls import Consumer, Stall
from clarion_monitor.webhooks import SwitchedOff


class Away(Unavailable):
    pass


class FakeBus:
    def __init__(self) -> None:
        self.queues: list[Queue] = []
        self.consumers: list[Consumer] = []
        self.streams: list[StreamState] = []
        self.fault: Unavailable | None = None
        self.healed: list[Stall] = []

    async def look(self) -> BusLook:
        if self.fault is not None:
            raise self.fault
        return BusLook(self.queues, self.consumers, self.streams)

    async def heal(self, stall: Stall) -> None:
        self.healed.append(stall)


class FakeLedger:
    def __init__(self) -> None:
        self.rows: list[Backlog] = []
        self.by_app: list[AppBacklog] = []
        self.letters: dict[Channel, int] = {}
        self.causes: list[Failures] = []
        self.stopped: list[Stopped] = []
        self.off: list[SwitchedOff] = []
        self.findings = Findings({}, {})
        self.away = False

    async def backlog(self) -> list[Backlog]:
        if self.away:
            raise Away
        return self.rows

    async def backlog_by_app(self) -> list[AppBacklog]:
        return self.by_app

    async def dead_letters(self) -> Mapping[Channel, int]:
        return self.letters

    async def failures(self, window: timedelta) -> list[Failures]:
        return self.causes

    async def stops(self) -> list[Stopped]:
        return self.stopped

    async def webhooks_off(self) -> list[SwitchedOff]:
        return self.off

    async def audit(self) -> Findings:
        if self.away:
            raise Away
        return self.findings


class FakeAccounts:
    def __init__(self) -> None:
        self.found = AccountsLook([], [], [])
        self.away = False

    async def look(self, window: timedelta) -> AccountsLook:
        if self.away:
            raise Away
        return self.found


class FakeIncidents:
    """Keeps what it was told; `passed` has the last look of each kind."""

    def __init__(self) -> None:
        self.passed: dict[Kind, list[Reading]] = {}
        self.due: list[Notice] = []
        self.told_to: list[Notice] = []
        self.put_off_to: list[Notice] = []
        self.away = False

    async def settle(self, kind: Kind, passed: Sequence[Reading]) -> None:
        self.passed[kind] = list(passed)

    async def open_by_kind(self) -> Mapping[Kind, int]:
        return {kind: len(readings) for kind, readings in self.passed.items()}

    async def claim(self, sinks: Collection[str]) -> list[Notice]:
        if self.away:
            raise Away
        return [notice for notice in self.due if notice.sink in sinks]

    async def told(self, notice: Notice) -> None:
        self.told_to.append(notice)

    async def put_off(self, notice: Notice) -> None:
        self.put_off_to.append(notice)

    async def forget(self) -> None:
        self.due = []
