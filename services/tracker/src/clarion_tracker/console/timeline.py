"""A notification as a picture: one lane for each delivery over one axis of time. Pure.

The axis is logarithmic: planning takes milliseconds, a retry seconds, an open hours, and all of it is to be seen at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion_kit.vocabulary import EventKind
from clarion_tracker.console.facts import DeliveryFacts, Event, NotificationFacts
from clarion_tracker.console.words import duration, offset, tone, word

LEFT, RIGHT = 2.0, 98.0
"""Percent of the width that the axis spans, so that marks at its ends are whole."""
SHORTEST = timedelta(milliseconds=100)
_UNIT_SECONDS = 0.01
_TICKS = (0.1, 1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800, 2_592_000)
_TICK_GAP = 14.0
_PHASES = {
    EventKind.RETRY: "retry",
    EventKind.HELD: "held",
    EventKind.DEFERRED: "resting",
    EventKind.WAITING: "resting",
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time between two events; percent of the width."""

    start: float
    width: float
    look: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An event; percent of the width."""

    at: float
    look: str
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One delivery's picture. `told`: all of it in words, for whoever does not see it."""

    stretches: Sequence[Stretch]
    marks: Sequence[Mark]
    told: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Where a time after the beginning lies."""

    begin: datetime
    length: timedelta

    def at(self, moment: datetime) -> float:
        """Percent of the width; times outside of the axis lie at its ends."""
        since = min(max((moment - self.begin).total_seconds(), 0.0), self.length.total_seconds())
        share = math.log1p(since / _UNIT_SECONDS) / math.log1p(self.length.total_seconds() / _UNIT_SECONDS)
        return LEFT + (RIGHT - LEFT) * share

    def ticks(self) -> list[Mark]:
        """Round times, not too near to each other."""
        chosen = [Mark(LEFT, "tick", "0")]
        for seconds in _TICKS:
            if seconds > self.length.total_seconds():
                break
            at = self.at(self.begin + timedelta(seconds=seconds))
            if at - chosen[-1].at >= _TICK_GAP and at <= RIGHT - 4:
                chosen.append(
                    Mark(
                        at, "tick", duration(seconds).replace(".0 s", " s").removesuffix(" 0 s").removesuffix(" 0 min")
                    )
                )
        return chosen


def axis(facts: NotificationFacts, now: datetime) -> Axis:
    """From the acceptance (or, of one that is scheduled, its time) to the last event, or to now while something is in flight."""
    begin = facts.found.accepted_at
    times = [event.at for event in facts.events]
    for delivery in facts.deliveries:
        times += [delivery.planned_at, *(event.at for event in delivery.events)]
        times += [at for at in (delivery.terminal_at, delivery.receipt_at) if at is not None]
        if not delivery.state.terminal:
            times.append(now)
    return Axis(begin, max([at - begin for at in times] + [SHORTEST]))


def lane(delivery: DeliveryFacts, along: Axis, now: datetime) -> Lane:
    """A delivery's stretches and marks, in order."""
    stretches: list[Stretch] = []
    marks = [Mark(along.at(delivery.planned_at), "planned", f"planned {_after(along, delivery.planned_at)}")]
    look, since = "moving", delivery.planned_at
    for event in delivery.events:
        if event.at < delivery.planned_at or event.kind is EventKind.PLANNED:
            continue
        stretches.append(_stretch(along, since, event.at, look))
        since = event.at
        terminal = event.state is not None and event.state.terminal
        look = "after" if terminal else _PHASES.get(event.kind, "moving")
        marks.append(Mark(along.at(event.at), _look(event), f"{said(event)} {_after(along, event.at)}"))
    if not delivery.state.terminal:
        stretches.append(_stretch(along, since, now, look))
    return Lane(
        [one for one in stretches if one.width > 0],
        marks,
        f"{word(delivery.channel)}, {word(delivery.state)}: " + "; ".join(mark.title for mark in marks),
    )


def said(event: Event) -> str:
    """An event in words: what a delivery ended as, what came back, else what happened."""
    if event.kind is EventKind.TERMINAL and event.state is not None:
        words = word(event.state)
    elif event.receipt is not None:
        words = f"receipt: {word(event.receipt)}"
    else:
        words = word(event.kind)
    return f"{words} ({word(event.reason)})" if event.reason is not None else words


def _look(event: Event) -> str:
    if event.kind is EventKind.RECEIPT:
        return "receipt"
    if event.state is not None and event.state.terminal:
        return tone(event.state)
    return _PHASES.get(event.kind, "moving")


def _stretch(along: Axis, start: datetime, end: datetime, look: str) -> Stretch:
    at = along.at(start)
    return Stretch(at, max(0.0, along.at(end) - at), look, f"{look} {duration((end - start).total_seconds())}")


def _after(along: Axis, moment: datetime) -> str:
    return offset(moment - along.begin)
