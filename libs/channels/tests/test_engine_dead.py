"""Dead addresses on their way to the preference service."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion_channels.engine.dead import BATCH, QUEUE, DeadAddress, DeadAddresses
from clarion_kit.errors import DomainError, unavailable

NOW = datetime(2026, 11, 22, tzinfo=UTC)


AT_ONCE = timedelta(0)


def dead(number: int, lane_id: int = 1) -> DeadAddress:
    return DeadAddress(lane_id, 1, UUID(int=number), NOW)


class Preference:
    """Takes reports unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.reports: list[list[DeadAddress]] = []

    async def report(self, addresses: Sequence[DeadAddress]) -> None:
        if self.away:
            raise unavailable("preference")
        self.reports.append(list(addresses))


async def test_flush_reports_everything_in_batches_and_in_order() -> None:
    preference = Preference()
    queue = DeadAddresses(preference.report, AT_ONCE)
    for number in range(BATCH + 1):
        queue.put(dead(number))

    await queue.flush()
    await queue.flush()

    assert [len(report) for report in preference.reports] == [BATCH, 1]
    assert [address for report in preference.reports for address in report] == [dead(n) for n in range(BATCH + 1)]


async def test_flush_keeps_what_could_not_be_reported() -> None:
    preference = Preference()
    queue = DeadAddresses(preference.report, AT_ONCE)
    queue.put(dead(1))
    queue.put(dead(2))
    preference.away = True
    with pytest.raises(DomainError):
        await queue.flush()
    queue.put(dead(3))

    preference.away = False
    await queue.flush()

    assert preference.reports == [[dead(1), dead(2), dead(3)]]


async def test_queue_is_bounded_and_keeps_the_newest() -> None:
    preference = Preference()
    queue = DeadAddresses(preference.report, AT_ONCE)
    for number in range(QUEUE + 5):
        queue.put(dead(number))

    await queue.flush()

    reported = [address for report in preference.reports for address in report]
    assert reported == [dead(number) for number in range(5, QUEUE + 5)]


async def test_report_waits_until_it_has_settled() -> None:
    preference = Preference()
    queue = DeadAddresses(preference.report, timedelta(minutes=1))
    queue.put(dead(1))

    await queue.flush()

    assert preference.reports == []


async def test_what_a_lane_is_not_believed_any_more_is_forgotten() -> None:
    preference = Preference()
    queue = DeadAddresses(preference.report, AT_ONCE)
    for number in range(6):
        queue.put(dead(number, lane_id=number % 2))

    queue.forget(1)
    await queue.flush()

    assert preference.reports == [[dead(number, lane_id=0) for number in (0, 2, 4)]]
