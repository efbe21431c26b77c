from datetime import UTC, datetime, timedelta

import pytest

from clarion_local.cli import moments

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800), (" 0s ", 0)]
)
def test_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert moments.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "1.5h", "10 m", "10w", "99999999d"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        moments.duration(text)


def test_durations_count_from_now_in_the_direction_asked_for() -> None:
    assert moments.ahead("10m", NOW) == NOW + timedelta(minutes=10)
    assert moments.ago("10m", NOW) == NOW - timedelta(minutes=10)


def test_moment_keeps_its_offset() -> None:
    expected = datetime(2030, 2, 1, 0, 0, tzinfo=UTC)

    assert moments.ahead("2030-02-01T09:00+09:00", NOW) == expected
    assert moments.ago("2030-02-01T00:00Z", NOW) == expected


def test_moment_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        moments.ahead("2030-02-01T09:00", NOW)


def test_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        moments.ago("yesterday", NOW)
