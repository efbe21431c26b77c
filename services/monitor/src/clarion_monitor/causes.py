"""What fails and why: recent failures by cause, stopped lanes, streams. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion_kit.vocabulary import Channel, StopReason
from clarion_monitor.domain import Kind, Limits, Reading

MAX_CODE = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9_.:/ -]")


@dataclass(frozen=True, slots=True)
class Account:
    """A provider account of an app: the lane that failures have in common."""

    app_id: int
    lane_id: int
    channel: Channel


@dataclass(frozen=True, slots=True)
class Failures:
    """Recent failures of one cause: the provider's code, or the reason where no provider gave one."""

    account: Account
    code: str
    failed: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """An account that takes no work."""

    account: Account
    reason: StopReason
    age: timedelta


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream of the bus. `created` None: it is missing. `lost`: messages it found damaged; `fill` is 0-1."""

    name: str
    created: datetime | None
    last_seq: int = 0
    lost: int = 0
    fill: float = 0.0


def failure_readings(causes: Iterable[Failures], limits: Limits) -> list[Reading]:
    """One reading a cause, by its dead letters where there are too many of those, else by its failures."""
    return [_failure_reading(cause, limits) for cause in causes]


def stop_readings(stops: Iterable[Stopped], limits: Limits) -> list[Reading]:
    """A breaker may open and close again; every other stop is told at once. One for dead addresses is an incident of those."""
    return [_stop_reading(stop, limits) for stop in stops if stop.reason is not StopReason.DEAD_JUMP]


def refused_reading(fault: str) -> Reading:
    """The bus is there and does not do its work. `fault` is the name of an error."""
    return Reading("jetstream", 1, 0, Kind.STREAM, f"JetStream stores or answers nothing: {safe(fault)}")


def safe(code: str) -> str:
    """A code of somebody else's as it may stand in an alert."""
    return _UNSAFE.sub("?", code)[:MAX_CODE]


class Streams:
    """Remembers every stream, because one that was made anew looks like any other."""

    def __init__(self) -> None:
        self._seen: dict[str, StreamState] = {}

    def judge(self, states: Iterable[StreamState], limits: Limits) -> list[Reading]:
        """Readings that are passed, each for one fault of one stream."""
        found = []
        for state in states:
            found += [
                Reading(
                    f"stream {state.name} {fault}",
                    value,
                    limit,
                    Kind.STREAM,
                    f"stream {state.name}: {fault}",
                    reached=True,
                )
                for fault, (value, limit) in self._faults(state, limits).items()
            ]
            if state.created is not None:
                self._seen[state.name] = state
        return found

    def _faults(self, state: StreamState, limits: Limits) -> Mapping[str, tuple[float, float]]:
        if state.created is None:
            return {"missing": (1, 1)}
        faults: dict[str, tuple[float, float]] = {}
        before = self._seen.get(state.name)
        if before is not None and (before.created != state.created or before.last_seq > state.last_seq):
            faults["lost its content"] = (before.last_seq, before.last_seq)
        if state.lost > (before.lost if before is not None else 0):
            faults["has damaged messages"] = (state.lost, 1)
        if state.fill >= limits.stream_fill:
            faults["almost full"] = (round(state.fill, 3), limits.stream_fill)
        return faults


def _failure_reading(cause: Failures, limits: Limits) -> Reading:
    code = safe(cause.code)
    account = cause.account
    dead = cause.dead_letters > limits.dead_letters
    return Reading(
        f"failures {account.lane_id} {code}",
        cause.dead_letters if dead else cause.failed,
        limits.dead_letters if dead else limits.failures,
        Kind.FAILURES,
        f"{account.channel.slug}: {'dead letters' if dead else 'attempts fail'} with {code}",
        app_id=account.app_id,
        lane_id=account.lane_id,
        reached=not dead,
    )


def _stop_reading(stop: Stopped, limits: Limits) -> Reading:
    broken = stop.reason is StopReason.BREAKER
    reason = stop.reason.name.lower().replace("_", " ")
    return Reading(
        f"lane {stop.account.lane_id} stopped",
        stop.age.total_seconds(),
        limits.breaker_open.total_seconds() if broken else 0,
        Kind.BREAKER if broken else Kind.LANE_STOPPED,
        f"{stop.account.channel.slug}: the account takes no work ({reason})",
        "s",
        stop.account.app_id,
        stop.account.lane_id,
        reached=True,
    )
