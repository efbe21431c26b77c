"""The console's rules: times on an axis, words for people, sealed sessions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, NotificationState
from clarion_tracker.console import timeline, words
from clarion_tracker.console.facts import ChannelFunnel, Event, Span
from clarion_tracker.console.session import MAX_COOKIE, Session, Sessions
from clarion_tracker.console.throttle import Throttle
from clarion_tracker.console.views import shares

from .console_samples import ACCEPTED, KEY, NOW, after, delivery, ended, one_of_each

SECONDS = st.floats(0, 3e7)
KINDS = st.sampled_from(
    [EventKind.RETRY, EventKind.HELD, EventKind.WAITING, EventKind.TERMINAL, EventKind.RECEIPT, EventKind(99)]
)
STATES = st.sampled_from([None, *DeliveryState, DeliveryState(77)])


@given(st.lists(SECONDS, min_size=2, max_size=20), SECONDS)
def test_axis_keeps_order_and_stays_on_the_page(seconds: list[float], length: float) -> None:
    along = timeline.Axis(ACCEPTED, max(timedelta(seconds=length), timeline.SHORTEST))

    places = [along.at(after(one)) for one in sorted(seconds)]

    assert places == sorted(places)
    assert all(timeline.LEFT <= place <= timeline.RIGHT for place in places)
    assert along.at(ACCEPTED - timedelta(days=1)) == timeline.LEFT


@given(SECONDS)
def test_ticks_lie_apart(length: float) -> None:
    ticks = timeline.Axis(ACCEPTED, max(timedelta(seconds=length), timeline.SHORTEST)).ticks()

    assert len(ticks) <= 10
    assert all(later.at - earlier.at >= 10 for earlier, later in pairwise(ticks))


@given(st.lists(st.tuples(SECONDS, KINDS, STATES), max_size=12), st.sampled_from(list(DeliveryState)))
def test_any_history_has_a_picture(
    history: list[tuple[float, EventKind, DeliveryState | None]], state: DeliveryState
) -> None:
    events = [Event(after(seconds), kind, of) for seconds, kind, of in sorted(history, key=lambda one: one[0])]
    facts = replace(one_of_each(), deliveries=[delivery(Channel.SMS, state, *events)], deliveries_in_all=1)

    along = timeline.axis(facts, NOW)
    lane = timeline.lane(facts.deliveries[0], along, NOW)

    for stretch in lane.stretches:
        assert timeline.LEFT <= stretch.start <= stretch.start + stretch.width <= timeline.RIGHT + 1e-6
    assert all(timeline.LEFT <= mark.at <= timeline.RIGHT for mark in lane.marks)


def test_picture_tells_a_retried_delivery_in_order() -> None:
    facts = one_of_each()
    along = timeline.axis(facts, NOW)

    lane = timeline.lane(facts.deliveries[1], along, NOW)

    assert [stretch.look for stretch in lane.stretches] == ["moving", "retry", "retry", "after"]
    assert [mark.look for mark in lane.marks] == ["planned", "retry", "retry", "good", "receipt"]
    assert lane.told.startswith(
        "android, sent: planned +12 ms; retry +140 ms; retry +2.4 s; sent +9.1 s; receipt: delivered +9.9 s"
    )


def test_what_is_in_flight_goes_on_until_now() -> None:
    facts = one_of_each()
    along = timeline.axis(facts, NOW)

    lane = timeline.lane(facts.deliveries[3], along, NOW)

    last = lane.stretches[-1]
    assert (last.look, round(last.start + last.width, 6)) == ("held", timeline.RIGHT)


def test_finished_notification_does_not_stretch_with_time() -> None:
    sent = delivery(Channel.IOS, DeliveryState.SENT, ended(0.2))
    facts = replace(one_of_each(), deliveries=[sent], deliveries_in_all=1)
    facts = replace(facts, found=replace(facts.found, state=NotificationState.DONE))

    assert timeline.axis(facts, NOW).length == timeline.axis(facts, NOW + timedelta(days=3)).length


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.25, "250 ms"),
        (0.9996, "1.0 s"),
        (59.96, "1 min 0 s"),
        (250, "4 min 10 s"),
        (3_599.7, "1 h 0 min"),
        (7_500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
        (-62, "-1 min 2 s"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("given_code", "shown"),
    [
        ("BadDeviceToken", "BadDeviceToken"),
        ("550 5.1.1", "550 5.1.1"),
        ("lane stopped: breaker", "lane stopped: breaker"),
        ("<a.b@c.example> refused", "… refused"),
        ("no route to +821012345678", "no route to …"),
        ("(010) 1234-5678 off", "… off"),
    ],
)
def test_codes_lose_what_could_be_an_address(given_code: str, shown: str) -> None:
    assert words.code(given_code) == shown


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_parts_of_a_bar_fill_it_and_no_more(sent: int, suppressed: int, lost: int, moving: int) -> None:
    funnel = ChannelFunnel(Channel.SMS, sent + suppressed + lost + moving, sent=sent, suppressed=suppressed, lost=lost)

    parts = shares(funnel)

    assert funnel.in_flight == moving
    assert sum(part.width for part in parts) == pytest.approx(100.0 if funnel.planned else 0.0)


def test_funnel_that_lags_behind_never_shows_less_than_nothing() -> None:
    assert ChannelFunnel(Channel.SMS, planned=1, sent=2).in_flight == 0


@pytest.mark.parametrize("span", list(Span))
def test_span_begins_on_the_hour_and_is_never_short(span: Span) -> None:
    begin = span.begin(NOW)

    assert (begin.minute, begin.second) == (0, 0)
    assert NOW - begin >= (timedelta(hours=1) if span is Span.HOUR else timedelta(days=1))


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=900), st.integers(1, 900))
def test_session_comes_back_from_its_cookie_until_it_ends(token: str, seconds: int) -> None:
    sessions = Sessions(KEY, secure=True)
    session = Session(token, NOW + timedelta(seconds=seconds))

    header = sessions.cookie(session, NOW).partition(";")[0]

    assert sessions.read(f"a=b; {header}; c=d", NOW) == session
    assert sessions.read(header, NOW + timedelta(seconds=seconds)) is None
    assert Sessions(bytes(32), secure=True).read(header, NOW) is None


@given(st.text(max_size=200) | st.text(max_size=80).map(lambda value: f"clarion_console={value}"))
def test_any_cookie_is_read_without_error(header: str) -> None:
    assert Sessions(KEY, secure=True).read(header, NOW) is None


def test_token_that_no_cookie_holds_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Sessions(KEY, secure=True).cookie(Session("x" * MAX_COOKIE, NOW), NOW)


class Ticking:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@given(st.lists(st.floats(0, 20), max_size=60))
def test_throttle_never_admits_more_than_its_rate(pauses: list[float]) -> None:
    clock = Ticking()
    throttle = Throttle(clock, burst=3, per_second=0.5)

    admitted = 0
    for pause in pauses:
        clock.seconds += pause
        admitted += throttle.admit()

    assert admitted <= 3 + 0.5 * clock.seconds + 1e-6
