"""The console's pages: templates filled with facts. Whatever is not ours is escaped by the template engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files

from minijinja import Environment, safe

from clarion_kit.vocabulary import (
    Channel,
    DeliveryState,
    Gate,
    NotificationState,
    Priority,
    Reason,
    Receipt,
    StopReason,
    Verdict,
    Word,
)
from clarion_tracker.console import timeline, words
from clarion_tracker.console.facts import ChannelFunnel, DeliveryFacts, Found, NotificationFacts, Overview, Span

PAGES = ("base", "login", "overview", "search", "notification", "message")
# To the engine an IntEnum is a number.
_WORDS: Mapping[str, type[Word]] = {
    "channel": Channel,
    "gate": Gate,
    "notification_state": NotificationState,
    "priority": Priority,
    "reason": Reason,
    "receipt": Receipt,
    "state": DeliveryState,
    "stop": StopReason,
    "verdict": Verdict,
}
ASSETS = {"console.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a bar; percent."""

    start: float
    width: float
    look: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A delivery with its picture."""

    facts: DeliveryFacts
    lane: timeline.Lane


class Views:
    """Fills templates. `trace_url`: with `{trace_id}` in it, or empty."""

    def __init__(self, trace_url: str = "") -> None:
        folder = files("clarion_tracker.console") / "pages"
        self._trace_url = trace_url
        self._assets = {name: (folder / name).read_bytes() for name in ASSETS}
        self._pages = Environment(
            templates={f"{name}.html": (folder / f"{name}.html").read_text() for name in PAGES},
            undefined_behavior="strict",
            filters={
                "count": words.count,
                "moment": words.moment,
                "duration": words.duration,
                "offset": lambda at, begin: words.offset(at - begin),
                "due": words.due,
                "code": words.code,
                "tone": lambda number: words.tone(DeliveryState(number)),
                "percent": lambda value: f"{value:.2f}%",
                "instant": _instant,
                "said": timeline.said,
                **{name: partial(_word, of) for name, of in _WORDS.items()},
            },
        )

    def asset(self, name: str) -> tuple[str, bytes] | None:
        """Content type and bytes of a style sheet or script."""
        return (ASSETS[name], self._assets[name]) if name in ASSETS else None

    def login(self, fault: str = "") -> str:
        return self._page("login", fault=fault)

    def message(self, title: str, text: str) -> str:
        return self._page("message", title=title, text=text)

    def overview(self, found: Overview, apps: Sequence[str]) -> str:
        funnels = [(funnel, shares(funnel)) for funnel in found.funnels]
        return self._page(
            "overview", found=found, funnels=funnels, spans=[span.value for span in Span], apps=apps, app="", query=""
        )

    def search(self, query: str, app: str, found: Sequence[Found], most: int, apps: Sequence[str]) -> str:
        return self._page("search", query=query, app=app, found=found, most=most, apps=apps)

    def notification(self, facts: NotificationFacts, now: datetime, apps: Sequence[str]) -> str:
        along = timeline.axis(facts, now)
        return self._page(
            "notification",
            facts=facts,
            ticks=along.ticks(),
            length=along.length.total_seconds(),
            drawn=[Drawn(delivery, timeline.lane(delivery, along, now)) for delivery in facts.deliveries],
            trace_url=self._trace_url.replace("{trace_id}", facts.trace_id) if facts.trace_id else "",
            moving=facts.found.state in (NotificationState.ACCEPTED, NotificationState.PLANNED),
            apps=apps,
            app="",
            query="",
        )

    def _page(self, name: str, **values: object) -> str:
        return self._pages.render_template(f"{name}.html", **values)


def _word(of: type[Word], number: int) -> str:
    return words.word(of(number))


def _instant(at: datetime) -> str:
    return safe(f'<time datetime="{at.isoformat(timespec="milliseconds")}">{words.moment(at)}</time>')


def shares(funnel: ChannelFunnel) -> list[Share]:
    """A channel's deliveries as parts of one bar."""
    if not funnel.planned:
        return []
    parts: list[Share] = []
    start = 0.0
    for look, number in (
        ("good", funnel.sent),
        ("moving", funnel.in_flight),
        ("quiet", funnel.suppressed + funnel.cancelled),
        ("bad", funnel.lost),
    ):
        width = 100.0 * number / funnel.planned
        if number:
            parts.append(Share(start, width, look, f"{look} {number}"))
        start += width
    return parts
