"""Click links: where they lead, who followed them, and what becomes of it; on fakes."""

import base64
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.links import OpenLink, click_key, packed, sign_click
from clarion_kit.vocabulary import Channel, Receipt
from clarion_tracker.activity import Activity, Kind
from clarion_tracker.activity_queue import HOLD, ActivityQueue
from clarion_tracker.clicks import Clicks
from clarion_tracker.machines import says_so
from clarion_tracker.ports import Reply, Request

from .tracker_samples import Away, FakeActivities, FakeDeliveries, HandClock, count, tracked

KEY = bytes(range(32))
DELIVERY = UUID(int=5)
LINK = OpenLink(1, DELIVERY, 2, 3, "KR", Channel.EMAIL)
TARGET = "https://shop.example.com/orders/7"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)"


def token(target: str = TARGET, number: int = 0, link: OpenLink = LINK) -> str:
    return sign_click(click_key(KEY, packed(link)), packed(link), number, target)


class Site:
    def __init__(self, *, size: int = 10, key: bytes | None = KEY) -> None:
        counter, self.metrics = tracked()
        self.clock = HandClock()
        self.deliveries = FakeDeliveries()
        self.deliveries.add(DELIVERY)
        self.activities = FakeActivities()
        self.queue = ActivityQueue(self.deliveries, self.activities, counter, self.clock, size=size)
        self._clicks = Clicks(key, self.queue, counter)

    async def get(self, token: str, *, method: str = "GET", agent: str = PHONE, **headers: str) -> Reply:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._clicks.answer(Request(method, f"/c/{token}", agent, headers=told), token)

    async def written(self) -> None:
        self.clock.seconds += HOLD.total_seconds()
        await self.queue.write()

    def counted(self, result: str) -> float:
        return count(self.metrics, "click", result)

    def machines(self) -> dict[str, bool]:
        return {activity.mark: activity.machine for activity in self.activities.noted}


async def test_click_redirects_and_is_kept_with_its_link() -> None:
    site = Site()

    reply = await site.get(token(number=3))
    await site.written()

    assert (reply.status, reply.headers["location"]) == (302, TARGET)
    assert site.deliveries.receipt == {DELIVERY: Receipt.CLICKED}
    assert site.activities.noted == {Activity(LINK, Kind.CLICKED, False, "3"): 1}
    assert site.counted("applied") == 1


async def test_click_in_a_redriven_mail_counts_for_the_delivery_that_was_sent() -> None:
    site = Site()
    sent = UUID(int=6)
    site.deliveries.add(sent)
    site.activities.instead = {DELIVERY: sent}

    await site.get(token())
    await site.written()

    assert site.deliveries.receipt == {sent: Receipt.CLICKED}
    assert site.activities.noted == {Activity(replace(LINK, delivery_id=sent), Kind.CLICKED, False, "0"): 1}
    assert site.counted("applied") == 1


async def test_click_in_a_redriven_mail_that_nobody_can_have_read_yet_is_a_machine_s() -> None:
    site = Site()
    sent = UUID(int=6)
    site.activities.instead = {DELIVERY: sent}
    site.activities.handed_over = {sent: timedelta(seconds=1)}

    await site.get(token())
    await site.written()

    assert site.machines() == {"0": True}


@given(st.data())
async def test_no_flipped_bit_leads_anywhere(data: st.DataObject) -> None:
    signed = bytearray(base64.urlsafe_b64decode(token() + "=" * (-len(token()) % 4)))
    bit = data.draw(st.integers(0, len(signed) * 8 - 1))
    signed[bit // 8] ^= 1 << bit % 8
    site = Site()

    reply = await site.get(base64.urlsafe_b64encode(bytes(signed)).rstrip(b"=").decode())

    assert (reply.status, "location" in reply.headers) == (404, False)
    assert site.counted("invalid") == 1


@pytest.mark.parametrize("text", ["", "x", "https://evil.example/", "%0d%0aSet-Cookie:a=b", "a" * 4_000, TARGET])
async def test_what_was_not_signed_is_not_here(text: str) -> None:
    assert (await Site().get(text)).status == 404


async def test_without_a_key_no_link_leads_anywhere() -> None:
    assert (await Site(key=None).get(token())).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_click_is_only_read(method: str) -> None:
    reply = await Site().get(token(), method=method)

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("method", "agent", "headers"),
    [
        ("HEAD", PHONE, {}),
        ("GET", "Mozilla/5.0 (compatible; bingbot/2.0)", {}),
        ("GET", "python-requests/2.33", {}),
        ("GET", PHONE, {"sec_purpose": "prefetch;prerender"}),
        ("GET", PHONE, {"purpose": "prefetch"}),
        ("GET", PHONE, {"x_moz": "prefetch"}),
    ],
)
async def test_machine_is_redirected_and_flagged(method: str, agent: str, headers: dict[str, str]) -> None:
    site = Site()

    reply = await site.get(token(), method=method, agent=agent, **headers)
    await site.written()

    assert reply.headers["location"] == TARGET
    assert site.deliveries.receipt == {}
    assert site.activities.noted == {Activity(LINK, Kind.CLICKED, True, "0"): 1}
    assert site.counted("machine") == 1


def test_end_of_a_huge_agent_is_not_looked_at() -> None:
    assert not says_so(Request("GET", "/", "x" * 600 + "bot"))
    assert says_so(Request("GET", "/", "bot " + "x" * 600))
    assert not says_so(Request("GET", "/", PHONE, headers={"sec-purpose": "navigate"}))


async def test_two_links_of_one_mail_within_a_second_are_a_scanner() -> None:
    site = Site()

    await site.get(token(number=0))
    site.clock.seconds += 0.9
    await site.get(token(TARGET + "/a", number=1))
    await site.written()

    assert site.machines() == {"0": True, "1": True}
    assert site.deliveries.receipt == {}
    assert site.counted("machine") == 2


async def test_two_links_of_one_slot_are_told_apart_by_their_targets() -> None:
    site = Site()

    await site.get(token(TARGET + "/a", number=4))
    await site.get(token(TARGET + "/b", number=4))
    await site.written()

    assert site.activities.noted == {Activity(LINK, Kind.CLICKED, True, "4"): 2}


async def test_one_link_clicked_twice_is_a_person() -> None:
    site = Site()

    await site.get(token())
    await site.get(token())
    await site.written()

    assert site.activities.noted == {Activity(LINK, Kind.CLICKED, False, "0"): 2}
    assert site.deliveries.receipt == {DELIVERY: Receipt.CLICKED}


async def test_second_link_later_is_a_person() -> None:
    site = Site()

    await site.get(token(number=0))
    site.clock.seconds += 1.1
    await site.get(token(TARGET + "/a", number=1))
    await site.written()

    assert site.machines() == {"0": False, "1": False}


async def test_links_of_two_mails_at_once_are_two_people() -> None:
    site = Site()
    other = UUID(int=6)
    site.deliveries.add(other)

    await site.get(token())
    await site.get(token(TARGET + "/a", 1, OpenLink(1, other, 2, 3, "KR", Channel.EMAIL)))
    await site.written()

    assert site.deliveries.receipt == {DELIVERY: Receipt.CLICKED, other: Receipt.CLICKED}


@pytest.mark.parametrize(
    ("handed_over", "machine"),
    [(None, True), (timedelta(seconds=2), True), (timedelta(seconds=3), False)],
)
async def test_mail_cannot_be_read_before_it_was_handed_over(handed_over: timedelta | None, machine: bool) -> None:
    """Told after the click rested for 1.2 s."""
    site = Site()
    site.activities.handed_over[DELIVERY] = handed_over

    await site.get(token())
    await site.written()

    assert site.machines() == {"0": machine}
    assert (site.deliveries.receipt == {}) is machine


async def test_web_push_may_be_clicked_at_once() -> None:
    site = Site()
    site.activities.handed_over[DELIVERY] = timedelta(seconds=0.1)

    await site.get(token(link=OpenLink(1, DELIVERY, 2, 3, "KR", Channel.WEB)))
    await site.written()

    assert site.deliveries.receipt == {DELIVERY: Receipt.CLICKED}


async def test_full_queue_redirects_drops_and_counts() -> None:
    site = Site(size=2)
    for number in range(5):
        assert (await site.get(token(number=number))).status == 302
    await site.get(token(number=0))

    assert site.counted("dropped") == 3


@pytest.mark.parametrize("who", ["deliveries", "activities"])
async def test_clicks_stay_queued_and_are_redirected_while_the_ledger_is_away(who: str) -> None:
    site = Site()
    part = site.deliveries if who == "deliveries" else site.activities
    part.away = True
    await site.get(token())
    with pytest.raises(Away):
        await site.written()
    assert (await site.get(token())).status == 302

    part.away = False
    await site.written()

    assert site.deliveries.receipt == {DELIVERY: Receipt.CLICKED}
    assert site.activities.noted == {Activity(LINK, Kind.CLICKED, False, "0"): 2}


async def test_leaving_writes_clicks_that_still_rest() -> None:
    site = Site()
    async with site.queue:
        await site.get(token())

    assert site.deliveries.receipt == {DELIVERY: Receipt.CLICKED}
    assert site.activities.noted == {Activity(LINK, Kind.CLICKED, False, "0"): 1}


async def test_leaving_without_a_ledger_drops_and_counts() -> None:
    site = Site()
    site.activities.away = True
    async with site.queue:
        await site.get(token())

    assert site.counted("dropped") == 1
