"""What `clarion queues` shows of a look, in as many columns as the terminal has. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from clarion_kit.vocabulary import Channel, StopReason, Word
from clarion_local.cli import views
from clarion_local.cli.output import table

if TYPE_CHECKING:
    from clarion_local.cli.lanes import Look, Rates

NARROW = 60
"""Columns below which only what tells of trouble is shown."""


@dataclass(frozen=True, slots=True)
class QueueView:
    """Draws itself; `rates` from the second look on."""

    look: "Look"
    rates: "Rates | None" = None
    every_lane: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        narrow = options.max_width < NARROW
        yield self._headline()
        yield self._lanes(narrow)
        yield self._stops(narrow)
        yield self._apps()
        yield self._backlog()

    def _headline(self) -> RenderableType:
        look = self.look
        empty = sum(not (lane.waiting or lane.pending) for lane in look.lanes)
        line = f"{look.at:%H:%M:%S} UTC, {empty} of {len(look.lanes)} lanes of the bus are empty"
        if self.rates is not None:
            line += f"; a second: {_rate(self.rates.accepted)} accepted, {_rate(self.rates.planned)} planned, "
            line += f"{_rate(self.rates.ended)} ended"
        return Text(line)

    def _lanes(self, narrow: bool) -> RenderableType:
        """Those that wait longest first, so that a low terminal cuts what matters least."""
        shown = [lane for lane in self.look.lanes if self.every_lane or lane.waiting or lane.pending]
        shown.sort(key=lambda lane: -(lane.oldest_seconds or 0.0))
        settled = self.rates.lanes if self.rates is not None else {}
        rows = [
            _without(
                (
                    lane.lane,
                    str(lane.waiting),
                    str(lane.pending),
                    _rate(settled[lane.lane]) if lane.lane in settled else "",
                    views.seconds(lane.oldest_seconds),
                ),
                2 if narrow else None,
            )
            for lane in shown
        ]
        columns = _without(("lane", "waiting", "taken", "settled/s", "oldest"), 2 if narrow else None)
        return table("bus, messages", columns, rows)

    def _stops(self, narrow: bool) -> RenderableType:
        rows = [
            _without(
                (
                    stop.app,
                    stop.account,
                    _word(Channel, stop.channel),
                    _word(StopReason, stop.reason),
                    views.seconds(stop.seconds),
                ),
                2 if narrow else None,
            )
            for stop in self.look.stops
        ]
        columns = _without(("app", "account", "channel", "why", "for"), 2 if narrow else None)
        return table("accounts that take no work", columns, rows)

    def _apps(self) -> RenderableType:
        rows = [(app.app, str(app.rows), views.seconds(app.oldest_seconds)) for app in self.look.apps]
        return table("in flight by app, the largest five", ("app", "rows", "oldest"), rows)

    def _backlog(self) -> RenderableType:
        rows = [
            (
                rows.stage,
                views.delivery_state(rows.state) or "scheduled",
                str(rows.rows),
                views.seconds(rows.oldest_seconds),
            )
            for rows in self.look.backlog
        ]
        return table("ledger, in flight", ("stage", "state", "rows", "oldest"), rows)


def _without(cells: Sequence[str], column: int | None) -> Sequence[str]:
    return cells if column is None else [*cells[:column], *cells[column + 1 :]]


def _word(words: type[Word], number: int) -> str:
    """As people read it; a number of a newer version as it is."""
    known = {word.value: word.name.lower().replace("_", " ") for word in words}
    return known.get(number, str(number))


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 or per_second == 0 else f"{per_second:.1f}"
