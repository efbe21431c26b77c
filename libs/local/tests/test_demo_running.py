"""Waiting within bounds, the traffic that is drawn, memory as the kernel tells it, and the command line."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import chain
from pathlib import Path

import pytest

from clarion.recipient.v1.recipient_service_pb2 import Recipient, Wishes
from clarion_client import Priority, addresses
from clarion_local.demo.memory import by_daemon
from clarion_local.demo.record import Pending
from clarion_local.demo.settling import until_settled
from clarion_local.demo.traffic import Traffic, showcase

AT_ONCE = timedelta(0)
NOTHING = Pending(0, 0, 0, 0, 0, 0, 0, 0)
RETRYING = Pending(to_plan=0, scheduled=0, to_send=0, to_retry=2, deferred=0, held=0, waiting=0, receipts=1)
PEOPLE = [Recipient(recipient_id=f"p{number}", country="JP") for number in range(7)]


def looks(*pending: Pending) -> Callable[[], Awaitable[Pending]]:
    """What a look finds, one after the other; the last for ever."""
    left = list(pending)

    async def look() -> Pending:
        return left.pop(0) if len(left) > 1 else left[0]

    return look


async def test_settled_once_nothing_is_pending() -> None:
    assert await until_settled(looks(RETRYING, NOTHING), lambda: False, pause=AT_ONCE) == NOTHING


async def test_nothing_pending_is_not_the_end_while_handing_in_goes_on() -> None:
    handing_in = iter([True, True, False])
    found = await until_settled(looks(NOTHING, RETRYING, NOTHING), lambda: next(handing_in, False), pause=AT_ONCE)
    assert found == NOTHING
    assert next(handing_in, None) is None


async def test_waiting_ends_at_its_limit_with_what_is_left() -> None:
    assert await until_settled(looks(RETRYING), lambda: False, limit=AT_ONCE) == RETRYING


def test_pending_says_what_is_waited_for() -> None:
    assert str(RETRYING) == "2 to retry, 1 receipts to come"
    assert str(NOTHING) == "nothing in flight"
    assert RETRYING.total == 3


@pytest.mark.parametrize("count", [1, 10, 5_999])
def test_traffic_is_as_much_as_was_asked_for_each_with_an_event_id_of_its_own(count: int) -> None:
    traffic = Traffic.of("run", count)
    drawn = list(chain(traffic.one_time_codes(PEOPLE), traffic.order_updates(PEOPLE), traffic.offers(PEOPLE)))
    assert len({notification.event_id for notification in drawn}) == count


def test_traffic_is_the_same_at_every_run_but_for_its_event_ids() -> None:
    one, other = (list(Traffic.of(run, 50).order_updates(PEOPLE)) for run in "ab")
    assert [dict(n.data) for n in one] == [dict(n.data) for n in other]
    assert {n.event_id for n in one}.isdisjoint(n.event_id for n in other)


def test_codes_are_urgent_and_offers_are_bulk() -> None:
    traffic = Traffic.of("run", 50)
    assert {n.priority for n in traffic.one_time_codes(PEOPLE)} == {Priority.URGENT}
    assert {n.priority for n in traffic.order_updates(PEOPLE)} == {Priority.NORMAL}
    assert {n.priority for n in traffic.offers(PEOPLE)} == {Priority.BULK}


def test_showcase_is_someone_whose_device_fails_once_and_who_has_a_phone() -> None:
    reach = [addresses.phone("+12025550100"), addresses.mail("a@example.com")]
    flaky = addresses.ios("dead500001" + "a" * 54)
    story = Recipient(recipient_id="story", addresses=[flaky, *reach])
    silent = Recipient(recipient_id="silent", addresses=[flaky, *reach], wishes=Wishes(opted_out=True))
    plain = Recipient(recipient_id="plain", addresses=[addresses.ios("a" * 64), *reach])
    assert showcase([plain, silent, story]) is story


def test_memory_is_the_proportional_set_size_of_processes_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "smaps_rollup").write_text("00-ff ---p 00:00 0 [rollup]\nRss: 9000 kB\nPss: 4096 kB\n")
    assert by_daemon({"gateway": 12, "gone": 13}, tmp_path) == {"gateway": 4096 * 1024}
