"""Consumers that give nothing out although messages wait and somebody asks for them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from clarion_kit.subjects import Lane
from clarion_monitor.domain import Kind, Reading


class Fault(StrEnum):
    """What is wrong with a consumer; each has its cure."""

    PAUSED = "paused"
    MISSING = "missing"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Consumer:
    """A lane's consumer at one moment. `full`: its readers hold as much as they may; `asked`: somebody waits."""

    lane: Lane
    waiting: int = 0
    delivered: int = 0
    asked: bool = False
    full: bool = False
    paused: bool = False
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """A consumer to be healed, with how long it has stood still."""

    lane: Lane
    fault: Fault
    age: timedelta


@dataclass(slots=True)
class _Standstill:
    delivered: int
    since: float
    asked: bool


class Stalls:
    """Remembers since when each consumer stands still. One that nobody asks is not stalled: its readers are busy or dead,
    which the age of its queue tells."""

    def __init__(self, after: timedelta) -> None:
        self._after = after.total_seconds()
        self._still: dict[Lane, _Standstill] = {}

    def judge(self, consumers: Iterable[Consumer], now: float) -> list[Stall]:
        """Those to be healed; `now` is monotonic, in seconds. Each begins anew afterwards."""
        stalls = []
        for consumer in consumers:
            stall = self._judge(consumer, now)
            if stall is not None:
                stalls.append(stall)
                self._still.pop(consumer.lane, None)
        return stalls

    def _judge(self, consumer: Consumer, now: float) -> Stall | None:
        if consumer.missing:
            return Stall(consumer.lane, Fault.MISSING, timedelta(0))
        if consumer.paused:
            return Stall(consumer.lane, Fault.PAUSED, timedelta(0))
        still = self._still.get(consumer.lane)
        if not consumer.waiting or consumer.full:
            self._still.pop(consumer.lane, None)
            return None
        if still is None or still.delivered != consumer.delivered:
            self._still[consumer.lane] = _Standstill(consumer.delivered, now, consumer.asked)
            return None
        still.asked |= consumer.asked
        age = now - still.since
        if age >= self._after and still.asked:
            return Stall(consumer.lane, Fault.STALLED, timedelta(seconds=age))
        return None


def stall_readings(stalls: Iterable[Stall], after: timedelta) -> list[Reading]:
    return [
        Reading(
            f"consumer {stall.lane.name} {stall.fault}",
            round(stall.age.total_seconds(), 1),
            after.total_seconds() if stall.fault is Fault.STALLED else 0,
            Kind.CONSUMER,
            f"the consumer {stall.lane.name} was {stall.fault} and is healed",
            "s",
            reached=True,
        )
        for stall in stalls
    ]
