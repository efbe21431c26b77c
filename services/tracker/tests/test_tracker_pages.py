"""Pages and the queue of opens, on fakes."""

import tracemalloc
from uuid import UUID

import pytest

from clarion_kit.links import ClickLink, OpenLink, sign_open
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import Channel, DeliveryState, Receipt
from clarion_tracker.activity import Activity, Kind
from clarion_tracker.activity_queue import AGAIN, HOLD, ActivityQueue
from clarion_tracker.pages import GIF, Pages
from clarion_tracker.ports import Request

from .tracker_samples import Away, FakeActivities, FakeDeliveries, HandClock, count, tracked

KEY = bytes(32)
DELIVERY = UUID(int=5)
LINK = OpenLink(1, DELIVERY, 2, 3, "", Channel.EMAIL)
TOKEN = sign_open(KEY, LINK)
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X)"


class Site:
    """Pages over a fake ledger."""

    def __init__(self, *, size: int = 10, key: bytes | None = KEY) -> None:
        counter, self.metrics = tracked()
        self.deliveries = FakeDeliveries()
        self.deliveries.add(DELIVERY)
        self.activities = FakeActivities()
        self.clock = HandClock()
        self.opens = ActivityQueue(self.deliveries, self.activities, counter, self.clock, size=size)
        self.stopping = False
        self.pages = Pages(key, self.opens, counter, lambda: self.stopping)

    async def get(self, path: str, *, method: str = "GET", agent: str = PHONE) -> int:
        return (await self.pages.answer(Request(method, path, agent))).status

    def counted(self, result: str) -> float:
        return count(self.metrics, "open", result)


def test_the_image_has_43_bytes() -> None:
    assert len(GIF) == 43
    assert GIF.startswith(b"GIF89a")


async def test_valid_pixel_makes_the_delivery_seen() -> None:
    site = Site()

    reply = await site.pages.answer(Request("GET", f"/o/{TOKEN}.gif", PHONE))
    await site.opens.write()

    assert (reply.status, reply.content_type, reply.body) == (200, "image/gif", GIF)
    assert reply.headers["cache-control"] == "no-store"
    assert site.deliveries.receipt == {DELIVERY: Receipt.SEEN}
    assert site.counted("applied") == 1


async def test_pixel_opened_again_changes_nothing() -> None:
    site = Site()
    for _ in range(3):
        await site.get(f"/o/{TOKEN}.gif")
        await site.opens.write()

    assert (site.counted("applied"), site.counted("unchanged")) == (1, 2)


async def test_open_that_overtook_the_record_of_its_send_counts_once_that_is_there() -> None:
    site = Site()
    site.deliveries.add(DELIVERY, state=DeliveryState.LEASED)
    await site.get(f"/o/{TOKEN}.gif")
    await site.opens.write()
    assert site.deliveries.receipt == {}

    site.deliveries.add(DELIVERY)
    site.clock.seconds += AGAIN.total_seconds()
    await site.opens.write()

    assert site.deliveries.receipt == {DELIVERY: Receipt.SEEN}
    assert site.counted("applied") == 1


@pytest.mark.parametrize("path", [f"/o/{TOKEN[:-1]}A.gif", "/o/nonsense.gif", "/o/.gif"])
async def test_unsigned_pixel_is_served_and_not_counted_as_open(path: str) -> None:
    site = Site()

    assert await site.get(path) == 200
    await site.opens.write()

    assert site.deliveries.receipt == {}
    assert site.counted("invalid") == 1


async def test_without_a_key_the_pixel_is_served_and_nothing_counts() -> None:
    site = Site(key=None)

    assert await site.get(f"/o/{TOKEN}.gif") == 200
    assert site.counted("invalid") == 1


@pytest.mark.parametrize(
    ("method", "agent", "machine"),
    [
        ("HEAD", PHONE, True),
        ("GET", "Mozilla/5.0 (compatible; bingbot/2.0)", True),
        ("GET", "python-requests/2.33", True),
        ("GET", "curl/8.5.0", True),
        ("GET", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", False),
        ("GET", "Mozilla/5.0 (Linux; Android 12; CUBOT X50)", False),
        ("GET", "", False),
    ],
)
async def test_machines_that_name_themselves_do_not_open(method: str, agent: str, machine: bool) -> None:
    site = Site()

    assert await site.get(f"/o/{TOKEN}.gif", method=method, agent=agent) == 200
    await site.opens.write()

    assert (site.counted("machine"), site.counted("applied")) == ((1, 0) if machine else (0, 1))
    assert site.activities.noted == {Activity(LINK, Kind.OPENED, machine): 1}


@pytest.mark.parametrize("path", ["/", "/o/", f"/o/{TOKEN}", f"/o/a/{TOKEN}.gif", "/u/x", "/o/x.gif\n"])
async def test_other_pages_are_not_here(path: str) -> None:
    assert await Site().get(path) == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_pixel_is_only_read(method: str) -> None:
    assert await Site().get(f"/o/{TOKEN}.gif", method=method) == 405


async def test_health_page_turns_when_the_daemon_stops() -> None:
    site = Site()
    before = await site.get("/healthz")
    site.stopping = True

    assert (before, await site.get("/healthz")) == (200, 503)


async def test_full_queue_drops_and_counts() -> None:
    site = Site(size=2)
    for number in range(5):
        token = sign_open(KEY, OpenLink(1, UUID(int=number), 2, 3, "", Channel.EMAIL))
        assert await site.get(f"/o/{token}.gif") == 200

    assert site.counted("dropped") == 3


async def test_flood_on_one_pixel_takes_one_place_and_is_counted() -> None:
    site = Site(size=1)
    for _ in range(500):
        assert await site.get(f"/o/{TOKEN}.gif") == 200
    await site.opens.write()

    assert site.counted("dropped") == 0
    assert site.activities.noted == {Activity(LINK, Kind.OPENED): 500}


async def test_flood_of_links_takes_no_more_room_than_the_queue_has() -> None:
    site = Site(size=200)
    links = [OpenLink(1, UUID(int=number), 2, 3, "", Channel.EMAIL) for number in range(4_000)]
    held: list[int] = []
    tracemalloc.start()
    for start in range(0, len(links), 1_000):
        for number, link in enumerate(links[start : start + 1_000]):
            site.opens.offer_open(link, machine=False)
            site.opens.offer_click(ClickLink(link, number % 65_536, "https://shop.example/"), machine=bool(number % 2))
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert site.counted("dropped") + count(site.metrics, "click", "dropped") == 2 * len(links) - 200
    assert held[-1] - held[0] < 100_000

    await site.opens.write()
    site.clock.seconds += HOLD.total_seconds()
    await site.opens.write()
    assert sum(site.activities.noted.values()) == 200


async def test_opens_stay_queued_while_the_ledger_is_away() -> None:
    site = Site()
    site.deliveries.away = True
    await site.get(f"/o/{TOKEN}.gif")
    with pytest.raises(Away):
        await site.opens.write()

    site.deliveries.away = False
    await site.opens.write()

    assert site.deliveries.receipt == {DELIVERY: Receipt.SEEN}


async def test_leaving_writes_what_is_queued() -> None:
    site = Site()
    async with site.opens:
        await site.get(f"/o/{TOKEN}.gif")

    assert site.deliveries.receipt == {DELIVERY: Receipt.SEEN}


async def test_leaving_without_a_ledger_drops_and_counts() -> None:
    site = Site()
    site.deliveries.away = True
    async with site.opens:
        await site.get(f"/o/{TOKEN}.gif")

    assert site.counted("dropped") == 1


async def test_open_of_what_was_not_sent_changes_nothing() -> None:
    counter, metrics = tracked()
    deliveries = FakeDeliveries()
    deliveries.add(DELIVERY, state=DeliveryState.FAILED)
    opens = ActivityQueue(deliveries, FakeActivities(), counter, HandClock(), size=1)
    opens.offer_open(LINK, machine=False)

    await opens.write()

    assert _unchanged(metrics) == 1


def _unchanged(metrics: Metrics) -> float:
    return count(metrics, "open", "unchanged")
