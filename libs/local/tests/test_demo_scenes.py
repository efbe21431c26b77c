"""Scenes of the demonstration: what is worked out before they begin, and what is told of one that goes wrong."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_client import Unavailable
from clarion_local.demo import dataset
from clarion_local.demo.scenes import cast
from clarion_local.demo.scenes.program import played
from clarion_local.demo.scenes.quiet import end_of_night, quiet_hours_until
from clarion_local.demo.scenes.scene import Late, Told, until

moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


@given(moments)
def test_night_ends_at_a_full_minute_that_is_near_but_not_at_once(now: datetime) -> None:
    ahead = end_of_night(now) - now

    assert end_of_night(now).replace(second=0, microsecond=0) == end_of_night(now)
    assert timedelta(seconds=5) < ahead <= timedelta(seconds=66)


@given(moments, st.sampled_from(["Asia/Seoul", "America/New_York", "UTC"]))
def test_quiet_hours_hold_now_and_end_with_the_night(now: datetime, zone: str) -> None:
    end = end_of_night(now)
    hours = quiet_hours_until(end, zone)
    wall = end.astimezone(ZoneInfo(zone))

    assert hours.end_minute == wall.hour * 60 + wall.minute
    assert 0 <= hours.start_minute < 1440
    assert hours.start_minute != hours.end_minute


def test_people_of_the_scenes_take_nobodys_address() -> None:
    lines = "\n".join(dataset.shipped_lines())
    taken = [cast.phone(1).sms.e164, cast.phone(2).sms.e164, cast.mailbox("fan").email.address]
    taken += [cast.device(name).ios.token for name in ("author", "busy", "sleeper")]

    assert not [address for address in taken if address in lines]
    assert len(cast.device("busy").ios.token) == 64


async def test_waiting_gives_what_was_found_and_ends_at_its_limit() -> None:
    looks = iter([None, "found"])

    async def look() -> str | None:
        return next(looks)

    async def never() -> None:
        return None

    assert await until(look) == "found"
    with pytest.raises(Late):
        await until(never, timedelta(0))


@pytest.mark.parametrize(
    "error", [Late("too late"), Unavailable("away", code=grpc.StatusCode.UNAVAILABLE), OSError("no sandbox")]
)
async def test_scene_that_goes_wrong_is_a_fault_and_stops_no_other(error: Exception) -> None:
    async def play() -> Told:
        raise error

    told = await played("cap", play())

    assert (told.name, told.notifications) == ("cap", 0)
    assert str(error) in told.fault
