"""What `clarion queues` shows, without a mesh."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from clarion_local.cli.lanes import AppLook, BacklogLook, Counters, LaneLook, Look, StopLook, rates
from clarion_local.cli.queue_view import QueueView

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
URGENT, BULK, EMPTY = "dispatch-sms-urgent", "dispatch-email-bulk", "plan-normal"
LOOK = Look(
    AT,
    [LaneLook(BULK, 7, 1, 100, 2.0), LaneLook(EMPTY, 0, 0, 5, None), LaneLook(URGENT, 3, 0, 50, 45.0)],
    [BacklogLook("dispatch", 3, 40, 1.5)],
    [AppLook("shop", 9_000, 61.0), AppLook("bank", 12, 0.1)],
    [StopLook("shop", "carrier", 4, 2, 20.0), StopLook("bank", "new", 1, 99, 1.0)],
    Counters(accepted=1_000, planned=1_500, ended=900),
)


def drawn(view: QueueView, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(view)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def later(**changes: int) -> Look:
    """Two seconds later."""
    lanes = [replace(lane, settled=lane.settled + changes.get("settled", 0)) for lane in LOOK.lanes]
    counters = Counters(
        LOOK.counters.accepted + changes.get("accepted", 0),
        LOOK.counters.planned + changes.get("planned", 0),
        LOOK.counters.ended + changes.get("ended", 0),
    )
    return replace(LOOK, at=AT + timedelta(seconds=2), lanes=lanes, counters=counters)


def test_rates_are_what_happened_a_second_between_two_looks() -> None:
    found = rates(LOOK, later(settled=30, accepted=200, planned=100, ended=3))

    assert found is not None
    assert (found.accepted, found.planned, found.ended) == (100, 50, 1.5)
    assert found.lanes == {URGENT: 15, BULK: 15, EMPTY: 15}


def test_counters_that_begin_anew_show_no_rate() -> None:
    found = rates(LOOK, later(settled=-40, ended=-900))

    assert found is not None
    assert found.ended == 0
    assert set(found.lanes.values()) == {0}


def test_two_looks_at_one_moment_have_no_rate() -> None:
    assert rates(LOOK, LOOK) is None


def test_everything_of_use_is_shown() -> None:
    text = drawn(QueueView(LOOK, rates(LOOK, later(settled=30, accepted=200, ended=3))))

    for fact in (
        URGENT,
        "45.0 s",
        "15",
        "100 accepted",
        "1.5 ended",
        "carrier",
        "breaker",
        "20.0 s",
        "shop",
        "9000",
        "leased",
    ):
        assert fact in text
    assert EMPTY not in text


def test_stop_of_a_newer_version_is_shown_as_its_number() -> None:
    assert "99" in drawn(QueueView(LOOK))


def test_lane_that_waits_longest_comes_first() -> None:
    text = drawn(QueueView(LOOK))

    assert text.index(URGENT) < text.index(BULK)


def test_every_lane_is_shown_where_asked() -> None:
    assert EMPTY in drawn(QueueView(LOOK, every_lane=True))


@pytest.mark.parametrize("width", [24, 40, 59, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = drawn(QueueView(LOOK, rates(LOOK, later(settled=30, accepted=200))), width)

    assert max(map(len, text.splitlines())) <= width
    assert "waiting" in text.replace("\n", "") or width < 40


@pytest.mark.parametrize("width", [40, 120])
def test_look_is_drawn_in_place_without_clearing_the_terminal(width: int) -> None:
    from rich.live import Live

    console = Console(file=StringIO(), width=width, height=60, force_terminal=True, color_system=None)
    with Live(console=console, auto_refresh=False) as place:
        for _ in range(3):
            place.update(QueueView(LOOK), refresh=True)

    assert isinstance(console.file, StringIO)
    assert "\x1b[2J" not in console.file.getvalue()
    assert "\x1b[1A" in console.file.getvalue()


def test_look_says_everything_to_machines_too() -> None:
    document = LOOK.to_json()

    assert set(document) == {"at", "lanes", "backlog", "apps", "stops", "counters"}
