"""When many numbers of one range are a burst."""

from clarion_planner.burst import MAX_NUMBERS, WINDOW_SECONDS, BurstWatch

APP, RANGE = 1, "range"


def number(n: int) -> bytes:
    return n.to_bytes(16, "big")


def noted(watch: BurstWatch, count: int, *, now: float, bucket: str = RANGE, first: int = 0, app: int = APP) -> int:
    """How many of these numbers were called part of a burst."""
    return sum(watch.note(app, bucket, number(n), now) for n in range(first, first + count))


def test_more_numbers_of_one_range_than_allowed_are_a_burst() -> None:
    watch = BurstWatch(200, 0.1)

    assert noted(watch, 200, now=0) == 0
    assert noted(watch, 4_800, now=1, first=200) == 4_800


def test_one_number_asked_for_often_is_no_burst() -> None:
    watch = BurstWatch(2, 0.0)

    assert not any(watch.note(APP, RANGE, number(1), now) for now in range(100))


def test_campaign_over_many_ranges_is_no_burst() -> None:
    watch = BurstWatch(20, 0.1)

    assert sum(noted(watch, 1, now=0, bucket=f"r{n % 50}", first=n) for n in range(5_000)) == 0


def test_apps_do_not_count_for_each_other() -> None:
    watch = BurstWatch(20, 0.5)
    noted(watch, 1_000, now=0, app=2, bucket="theirs")

    assert noted(watch, 20, now=0) == 0
    assert noted(watch, 1, now=0, first=20) == 1


def test_burst_goes_on_while_it_is_tried_and_ends_a_window_later() -> None:
    watch = BurstWatch(50, 0.0)
    half = WINDOW_SECONDS / 2
    noted(watch, 60, now=0)

    again = [noted(watch, 60, now=turn * half) for turn in range(1, 5)]
    later = noted(watch, 50, now=4 * half + WINDOW_SECONDS)

    assert again == [60, 60, 60, 60]
    assert later == 0


def test_numbers_remembered_are_bounded() -> None:
    watch = BurstWatch(10 * MAX_NUMBERS, 0.0)

    noted(watch, 2 * MAX_NUMBERS, now=0)

    kept = sum(len(seen) for half in (watch._before, watch._now) for seen in half.seen.values())
    assert kept <= MAX_NUMBERS


def test_no_number_allowed_means_no_watch() -> None:
    assert noted(BurstWatch(0, 0.0), 1_000, now=0) == 0
