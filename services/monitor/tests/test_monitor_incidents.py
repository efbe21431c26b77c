"""Incidents in a real Postgres, with no more rights than the daemon's role has: one message each, whoever looks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import permutations

import pytest

from clarion_ledger.db import Pool, pool
from clarion_monitor.adapters.incidents import IncidentStore
from clarion_monitor.domain import Kind, Reading
from clarion_monitor.notices import Notice, Status
from clarion_testkit.plugin import Database

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SINKS = ("mail", "webhook")


def failing(code: str = "503", lane_id: int | None = 7, kind: Kind = Kind.FAILURES) -> Reading:
    return Reading(f"{lane_id} {code}", 312, 20, kind, f"sms: attempts fail with {code}", lane_id=lane_id)


class Monitors:
    """Two monitors at one database."""

    def __init__(self, connections: Pool, superuser: Pool) -> None:
        self.one, self.other = (IncidentStore(connections, remind_every=HOUR, recover_after=MINUTE) for _ in range(2))
        self._superuser = superuser

    async def told(self, *sinks: str) -> list[Notice]:
        """One round of the first monitor, all of whose sinks take everything."""
        notices = await self.one.claim(sinks or SINKS)
        for notice in notices:
            await self.one.told(notice)
        return notices

    async def pass_time(self, length: timedelta) -> None:
        """Everything is that much longer ago."""
        await self._superuser.execute(
            "UPDATE ledger.incident SET since = since - $1::interval, last_seen = last_seen - $1, resolved_at = resolved_at - $1",
            length,
        )
        await self._superuser.execute(
            """UPDATE ledger.incident_notice SET next_at = next_at - $1::interval, told_since = told_since - $1,
               notified_at = notified_at - $1, resolved_at = resolved_at - $1""",
            length,
        )


@pytest.fixture
async def monitors(database: Database) -> AsyncIterator[Monitors]:
    async with pool(f"{database.url}?role=clarion_monitor", size=4, application="test") as connections:
        yield Monitors(connections, database.pool)


def statuses(notices: list[Notice]) -> list[tuple[str, Status]]:
    return sorted((notice.sink, notice.status) for notice in notices)


async def test_incident_is_told_once_to_every_sink(monitors: Monitors) -> None:
    for _ in range(3):
        await monitors.one.settle(Kind.FAILURES, [failing()])
        await monitors.other.settle(Kind.FAILURES, [failing()])

    first, second = await monitors.told(), await monitors.told()

    assert statuses(first) == [("mail", Status.ALERT), ("webhook", Status.ALERT)]
    assert second == []
    assert (first[0].what, first[0].value, first[0].limit) == ("sms: attempts fail with 503", 312, 20)


async def test_two_monitors_that_claim_at_once_share_the_messages(monitors: Monitors) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing(str(code)) for code in range(8)])

    claims = await asyncio.gather(*(store.claim(SINKS) for store in (monitors.one, monitors.other) * 3))

    claimed = [(notice.key, notice.sink) for notices in claims for notice in notices]
    assert len(claimed) == len(set(claimed)) == 16


async def test_message_of_a_monitor_that_died_is_told_by_another_after_a_minute(monitors: Monitors) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing()])
    assert len(await monitors.one.claim(SINKS)) == 2
    assert await monitors.other.claim(SINKS) == []

    await monitors.pass_time(MINUTE)

    assert statuses(await monitors.other.claim(SINKS)) == [("mail", Status.ALERT), ("webhook", Status.ALERT)]


async def test_what_goes_on_is_told_again_after_an_hour(monitors: Monitors) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing()])
    await monitors.told("mail")
    await monitors.pass_time(HOUR - MINUTE)
    early = await monitors.told("mail")

    await monitors.pass_time(2 * MINUTE)
    await monitors.one.settle(Kind.FAILURES, [failing()])

    assert early == []
    assert statuses(await monitors.told("mail")) == [("mail", Status.REMINDER)]
    assert await monitors.told("mail") == []


async def test_cause_unseen_for_a_minute_is_over_and_told_as_such_once(monitors: Monitors) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing()])
    await monitors.told("mail")
    await monitors.one.settle(Kind.FAILURES, [])
    early = await monitors.told("mail")

    await monitors.pass_time(MINUTE)
    await monitors.one.settle(Kind.QUEUE_AGE, [])
    other_kind = await monitors.told("mail")
    await monitors.one.settle(Kind.FAILURES, [])

    assert (early, other_kind) == ([], [])
    assert statuses(await monitors.told("mail")) == [("mail", Status.RESOLVED)]
    assert await monitors.told("mail") == []


async def test_recovered_cause_is_armed_again(monitors: Monitors) -> None:
    told = []
    for _ in range(2):
        await monitors.one.settle(Kind.FAILURES, [failing()])
        told += await monitors.told("mail")
        await monitors.pass_time(MINUTE)
        await monitors.one.settle(Kind.FAILURES, [])
        told += await monitors.told("mail")

    assert [notice.status for notice in told] == [Status.ALERT, Status.RESOLVED] * 2
    assert told[2].since > told[1].since


async def test_sink_that_fails_is_tried_again_after_a_pause_that_doubles(
    monitors: Monitors, database: Database
) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing()])
    pauses = []
    for _ in range(8):
        [notice] = await monitors.one.claim(["webhook"])
        await monitors.one.put_off(notice)
        assert await monitors.other.claim(["webhook"]) == []
        pause = await database.pool.fetchval("SELECT next_at - now() FROM ledger.incident_notice")
        pauses.append(round(pause.total_seconds()))
        await monitors.pass_time(MINUTE)

    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_episode_that_a_failing_sink_missed_is_told_as_over(monitors: Monitors) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing()])
    [notice] = await monitors.one.claim(["webhook"])
    await monitors.one.put_off(notice)
    await monitors.pass_time(2 * MINUTE)
    await monitors.one.settle(Kind.FAILURES, [])

    assert statuses(await monitors.told("webhook", "mail")) == [("webhook", Status.RESOLVED)]
    assert await monitors.told("webhook", "mail") == []


@pytest.mark.parametrize(
    ("first", "second"),
    list(permutations((Kind.FAILURES, Kind.PROVIDER_ERRORS, Kind.BREAKER), 2)),
    ids=lambda kind: str(kind),
)
async def test_failures_and_the_breaker_they_open_are_one_incident(
    monitors: Monitors, first: Kind, second: Kind
) -> None:
    for _ in range(2):
        await monitors.one.settle(first, [failing(kind=first)])
        await monitors.one.settle(second, [failing(kind=second), failing(lane_id=8, kind=second)])

    told = await monitors.told("mail")

    assert sorted(notice.key for notice in told) == sorted(
        [failing(kind=first).key, failing(lane_id=8, kind=second).key]
    )


async def test_open_incidents_are_counted_by_kind(monitors: Monitors) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing("500"), failing("503")])
    await monitors.one.settle(Kind.LEDGER, [failing(lane_id=None, kind=Kind.LEDGER)])

    assert await monitors.one.open_by_kind() == {Kind.FAILURES: 2, Kind.LEDGER: 1}


async def test_what_is_long_over_is_forgotten(monitors: Monitors, database: Database) -> None:
    await monitors.one.settle(Kind.FAILURES, [failing()])
    await monitors.told()
    await monitors.pass_time(MINUTE)
    await monitors.one.settle(Kind.FAILURES, [])
    await monitors.pass_time(timedelta(days=31))

    await monitors.one.forget()

    assert await database.pool.fetchval("SELECT count(*) FROM ledger.incident_notice") == 0
