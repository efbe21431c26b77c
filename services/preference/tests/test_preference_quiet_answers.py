"""Answers about quiet hours that are remembered."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel
from clarion_preference.places import zone
from clarion_preference.quiet import QuietWindow
from clarion_preference.quiet_answers import NEVER_QUIET, QuietAnswers

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
NIGHT = QuietWindow(22 * 60, 7 * 60)
NOON_ON_SMS = QuietWindow(720, 780, channel=Channel.SMS)
windows = st.builds(
    QuietWindow,
    st.integers(0, 700),
    st.integers(701, 1439),
    channel=st.one_of(st.none(), st.sampled_from([Channel.SMS, Channel.EMAIL])),
)


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@given(
    st.lists(windows, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["UTC", "America/New_York"]),
    st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=8),
)
def test_remembered_answer_is_the_one_that_is_worked_out_anew(
    window_set: tuple[QuietWindow, ...], name: str, minutes: list[int]
) -> None:
    """Moments in any order: a clock may step back."""
    remembering = QuietAnswers()

    for minute in minutes:
        now = MONDAY + timedelta(minutes=minute)
        assert remembering.answer(window_set, name, now) == QuietAnswers().answer(window_set, name, now)


def test_window_of_a_channel_is_quiet_there_alone() -> None:
    answer = QuietAnswers().answer((NIGHT, NOON_ON_SMS), "UTC", MONDAY + timedelta(hours=12))

    assert answer.until == 0
    assert answer.on(Channel.SMS) == milliseconds(MONDAY + timedelta(hours=13))
    assert answer.on(Channel.EMAIL) == 0
    assert answer.begins == milliseconds(MONDAY + timedelta(hours=22))


def test_window_of_all_channels_holds_on_a_channel_that_has_its_own() -> None:
    answer = QuietAnswers().answer((NIGHT, NOON_ON_SMS), "UTC", MONDAY + timedelta(hours=23))

    end = milliseconds(MONDAY + timedelta(days=1, hours=7))
    assert (answer.until, answer.on(Channel.SMS), answer.on(Channel.IOS)) == (end, end, end)


def test_without_windows_it_is_never_quiet() -> None:
    assert QuietAnswers().answer((), "UTC", MONDAY) is NEVER_QUIET


def test_zone_that_is_not_known_any_more_counts_as_utc() -> None:
    assert zone("Mars/Base").key == "UTC"
