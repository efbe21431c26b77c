"""When a failure, a stop, a stream or a consumer is an incident."""

from datetime import UTC, datetime, timedelta

import pytest

from clarion_kit.subjects import all_lanes
from clarion_kit.vocabulary import Channel, StopReason
from clarion_monitor.causes import (
    Account,
    Failures,
    Stopped,
    Streams,
    StreamState,
    failure_readings,
    refused_reading,
    safe,
    stop_readings,
)
from clarion_monitor.domain import Backlog, Kind, Limits, outbox_reading
from clarion_monitor.stalls import Consumer, Fault, Stalls, stall_readings

LIMITS = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
SMS = Account(app_id=1, lane_id=7, channel=Channel.SMS)
MADE = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
FIFTEEN = 15 * SECOND
LANE, OTHER, *_ = all_lanes()


@pytest.mark.parametrize(
    ("failed", "dead_letters", "passed"),
    [(19, 0, False), (20, 0, True), (10_000, 0, True), (1, 1, True), (0, 0, False)],
)
def test_cause_is_an_incident_from_twenty_failures_or_one_dead_letter(
    failed: int, dead_letters: int, passed: bool
) -> None:
    [reading] = failure_readings([Failures(SMS, "0x58", failed, dead_letters)], LIMITS)

    assert reading.passed is passed


def test_same_cause_has_the_same_key_whatever_shows_it() -> None:
    attempts, letters = failure_readings([Failures(SMS, "503", 30, 0), Failures(SMS, "503", 30, 5)], LIMITS)
    [other] = failure_readings([Failures(SMS, "500", 30, 0)], LIMITS)

    assert attempts.key == letters.key != other.key
    assert (attempts.value, attempts.limit) == (30, 20)
    assert (letters.value, letters.limit) == (5, 0)


def test_breaker_has_a_moment_other_stops_have_none() -> None:
    stops = [
        Stopped(SMS, StopReason.BREAKER, 14 * SECOND),
        Stopped(SMS, StopReason.BREAKER, 15 * SECOND),
        Stopped(SMS, StopReason.CREDENTIALS, timedelta(0)),
    ]

    readings = stop_readings(stops, LIMITS)

    assert [(reading.kind, reading.passed) for reading in readings] == [
        (Kind.BREAKER, False),
        (Kind.BREAKER, True),
        (Kind.LANE_STOPPED, True),
    ]


def test_rows_are_an_outbox_only_while_the_bus_is_away() -> None:
    rows = [Backlog("plan", "ready", 1, 61 * SECOND), Backlog("dispatch", "retry_wait", 1, timedelta(days=1))]

    assert outbox_reading(rows, LIMITS, bus_away=True).passed
    assert not outbox_reading(rows, LIMITS, bus_away=False).passed
    assert not outbox_reading(rows[1:], LIMITS, bus_away=True).passed


def test_stream_that_lost_its_content_is_told_once() -> None:
    streams = Streams()
    looks = [
        StreamState("PLAN", MADE, last_seq=9),
        StreamState("PLAN", MADE, last_seq=12),
        StreamState("PLAN", MADE, last_seq=3),
        StreamState("PLAN", MADE, last_seq=4),
        StreamState("PLAN", MADE + SECOND, last_seq=5),
    ]

    found = [[reading.what for reading in streams.judge([look], LIMITS)] for look in looks]

    lost = ["stream PLAN: lost its content"]
    assert found == [[], [], lost, [], lost]


def test_stream_that_is_missing_damaged_or_full_is_an_incident() -> None:
    streams = Streams()
    states = [
        StreamState("PLAN", None),
        StreamState("DISPATCH", MADE, lost=2),
        StreamState("RETRY", MADE, fill=0.9),
        StreamState("EVENTS", MADE, fill=0.89),
    ]

    readings = streams.judge(states, LIMITS)

    assert [reading.what for reading in readings] == [
        "stream PLAN: missing",
        "stream DISPATCH: has damaged messages",
        "stream RETRY: almost full",
    ]
    assert all(reading.passed for reading in readings)


def test_foreign_codes_cannot_break_a_message() -> None:
    assert safe("503\r\nBcc: x@y <!channel> *" + "x" * 99) == ("503??Bcc: x?y ??channel? ?" + "x" * 99)[:64]
    assert refused_reading("APIError").passed


def test_consumer_that_is_asked_and_gives_nothing_for_fifteen_seconds_is_stalled() -> None:
    stalls = Stalls(FIFTEEN)
    waiting = Consumer(LANE, waiting=3, delivered=5, asked=True)

    found = [stalls.judge([waiting], now) for now in (100.0, 110.0, 114.9, 115.0, 116.0)]

    assert [[stall.fault for stall in one] for one in found] == [[], [], [], [Fault.STALLED], []]
    assert found[3][0].age == FIFTEEN


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(Consumer(LANE, waiting=3, delivered=6, asked=True), id="it gave something"),
        pytest.param(Consumer(LANE, waiting=0, delivered=5, asked=True), id="nothing waits"),
        pytest.param(Consumer(LANE, waiting=3, delivered=5, asked=True, full=True), id="its readers are full"),
    ],
)
def test_consumer_that_moves_begins_anew(moves: Consumer) -> None:
    stalls = Stalls(FIFTEEN)
    still = Consumer(LANE, waiting=3, delivered=5, asked=True)
    stalls.judge([still], 0.0)

    stalls.judge([moves], 14.0)

    assert stalls.judge([still], 15.0) == []


def test_consumer_that_nobody_asks_is_not_stalled() -> None:
    stalls = Stalls(FIFTEEN)
    unasked = Consumer(LANE, waiting=3, delivered=5)

    assert [stalls.judge([unasked], now) for now in (0.0, 60.0)] == [[], []]


def test_paused_and_missing_consumers_are_healed_at_once() -> None:
    stalls = Stalls(FIFTEEN).judge([Consumer(LANE, paused=True), Consumer(OTHER, missing=True)], 0.0)

    assert [(stall.lane, stall.fault) for stall in stalls] == [(LANE, Fault.PAUSED), (OTHER, Fault.MISSING)]
    assert all(reading.passed for reading in stall_readings(stalls, FIFTEEN))
