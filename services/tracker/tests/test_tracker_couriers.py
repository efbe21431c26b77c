"""Couriers on fakes: order, repetition, leases, and that none waits for another."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from clarion_kit.errors import Unavailable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_ledger.webhooks import new_secret
from clarion_tracker import couriers as couriers_module
from clarion_tracker.changes import Wanted
from clarion_tracker.couriers import Counts, Couriers, Held, Sample
from clarion_tracker.feed import Feed
from clarion_tracker.positions import Position
from clarion_tracker.webhooks import Answer, Batch, Disabled, Hook, Lost, body_of, judge

from .tracker_feed_samples import APP, OTHER_APP, START, FakeEvents, change, feed_of
from .tracker_samples import Away, FixedClock

TAKEN, REFUSED = Answer(200), Answer(503)
BEGINNING = Position(0, 0, START)


def hook(webhook_id: int = 1, app_id: int = APP, **fields: object) -> Hook:
    given: dict[str, object] = {"wanted": Wanted(), "position": BEGINNING, **fields}
    return Hook(
        webhook_id,
        app_id,
        "shop",
        f"w{webhook_id}",
        1,
        1,
        f"https://w{webhook_id}/",
        (new_secret(),),
        **given,  # type: ignore[arg-type]
    )


class FakeHooks:
    """Leases and records of the ledger, in memory."""

    def __init__(self, *hooks: Hook) -> None:
        self.free = list(hooks)
        self.mine: set[int] = set()
        self.positions: dict[int, Position] = {}
        self.records: list[tuple[str, int, str]] = []
        self.losses: list[Lost] = []
        self.asked: list[Sample] = []
        self.answers: dict[UUID, Answer] = {}
        self.failing = 0
        self.recorded = asyncio.Event()

    async def claim(self, most: int) -> Sequence[Hook]:
        taken, self.free = self.free[:most], self.free[most:]
        self.mine |= {one.webhook_id for one in taken}
        return taken

    async def keep(self, held: Sequence[Held]) -> Collection[int]:
        for one in held:
            self.positions[one.webhook_id] = one.position
        return {one.webhook_id for one in held if one.webhook_id in self.mine}

    async def release(self, held: Sequence[Held]) -> None:
        self.mine -= {one.webhook_id for one in held}

    async def taken(self, hook: Hook) -> bool:
        self.positions[hook.webhook_id] = hook.position
        return self._note("taken", hook, "")

    async def failed(self, hook: Hook, batch: Batch, answer: Answer, pause: timedelta) -> bool:
        return self._note("failed", hook, answer.fault)

    async def disable(self, hook: Hook, batch: Batch, answer: Answer, why: Disabled) -> bool:
        return self._note("disabled", hook, why)

    async def lost(self, hook: Hook, lost: Lost) -> bool:
        self.losses.append(lost)
        return True

    async def disabled(self) -> Mapping[str, int]:
        return {"gone": sum(kind == "disabled" for kind, _, _ in self.records)}

    async def samples(self, most: int) -> Sequence[Sample]:
        asked, self.asked = self.asked, []
        return asked

    async def tested(self, sample: Sample, answer: Answer, took: timedelta) -> None:
        self.answers[sample.test_id] = answer

    def _note(self, kind: str, hook: Hook, text: str) -> bool:
        if self.failing:
            self.failing -= 1
            raise Away
        self.records.append((kind, hook.webhook_id, text))
        self.recorded.set()
        return hook.webhook_id in self.mine


class FakeWorld:
    """Receivers by URL: what they got, and what they answer."""

    def __init__(self) -> None:
        self.got: dict[str, list[tuple[str, list[str]]]] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.silent: set[str] = set()
        self.arrived = asyncio.Condition()

    @asynccontextmanager
    async def knock(self) -> AsyncIterator["FakeWorld"]:
        yield self

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout: timedelta) -> Answer:
        ids = [told["id"] for told in json.loads(body)["data"]["changes"]]
        self.got.setdefault(url, []).append((headers["webhook-id"], ids))
        async with self.arrived:
            self.arrived.notify_all()
        if url in self.silent:
            await asyncio.Event().wait()
        answers = self.answers.get(url, [])
        return answers.pop(0) if answers else TAKEN

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(holds)

    def ids(self, url: str) -> list[str]:
        """Changes in the order in which the receiver got them."""
        return [id_ for _, ids in self.got.get(url, []) for id_ in ids]


class World:
    """Couriers with everything around them."""

    def __init__(self, *hooks: Hook) -> None:
        self.events = FakeEvents()
        self.feed: Feed = feed_of(self.events)
        self.hooks = FakeHooks(*hooks)
        self.receivers = FakeWorld()
        self.metrics = Metrics()
        self.now = START
        self.couriers = self.another(self.hooks)

    def another(self, hooks: FakeHooks) -> Couriers:
        counts = Counts.of(self.metrics)
        return Couriers(hooks, self.feed, self.receivers.knock, FixedClock(self.now), counts)

    def count(self, metric: names.Metric, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(metric.name, labels) or 0.0

    async def happens(self, *changes: object) -> None:
        self.events.commit(*changes)  # type: ignore[arg-type]
        await self.feed.poll()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other without a pause."""
    monkeypatch.setattr(
        couriers_module, "judge", lambda answer, tries, failing: judge(answer, tries, failing, draw=lambda a, b: 0.0)
    )
    monkeypatch.setattr(couriers_module, "_PAUSE_SECONDS", 0.01)


async def test_changes_are_posted_in_order_and_each_once() -> None:
    world = World(hook())
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(*(change(xid) for xid in range(1, 6)))
        await world.receivers.until(lambda: len(world.receivers.ids("https://w1/")) == 5)
        await world.happens(change(6), change(7, app_id=OTHER_APP))
        await world.receivers.until(lambda: len(world.receivers.ids("https://w1/")) == 6)

    assert world.receivers.ids("https://w1/") == [f"{xid}-1" for xid in range(1, 7)]


async def test_post_holds_a_hundred_changes_at_most() -> None:
    world = World(hook())
    world.events.commit(*(change(xid) for xid in range(1, 251)))
    async with world.couriers.running():
        await world.couriers.step()
        await world.receivers.until(lambda: len(world.receivers.ids("https://w1/")) == 250)

    assert [len(ids) for _, ids in world.receivers.got["https://w1/"]] == [100, 100, 50]
    assert world.receivers.ids("https://w1/") == [f"{xid}-1" for xid in range(1, 251)]


async def test_filter_leaves_out_and_the_place_moves_on_all_the_same() -> None:
    world = World(hook(wanted=Wanted(categories=frozenset({"news"}))))
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1), change(2, category="news"), change(3))
        await world.receivers.until(lambda: world.receivers.ids("https://w1/") == ["2-1"])
        await world.hooks.recorded.wait()

    assert world.hooks.positions[1] == Position(3, 1, START)


async def test_what_is_refused_comes_again_under_the_same_id_before_anything_later() -> None:
    world = World(hook())
    world.receivers.answers["https://w1/"] = [REFUSED, Answer(error="timeout"), TAKEN]
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))
        await world.receivers.until(lambda: len(world.receivers.got.get("https://w1/", [])) == 3)
        await world.happens(change(2))
        await world.receivers.until(lambda: "2-1" in world.receivers.ids("https://w1/"))

    tries = world.receivers.got["https://w1/"]
    assert len({message_id for message_id, ids in tries if "1-1" in ids}) == 1
    assert [ids for _, ids in tries[:3]] == [tries[0][1]] * 3
    assert [record[0] for record in world.hooks.records[:3]] == ["failed", "failed", "taken"]


async def test_batch_that_failed_at_another_tracker_is_made_again_as_it_was() -> None:
    first = World(hook())
    first.receivers.answers["https://w1/"] = [REFUSED]
    async with first.couriers.running():
        await first.couriers.step()
        await first.happens(change(1), change(2))
        await first.receivers.until(lambda: len(first.receivers.got.get("https://w1/", [])) == 2)
    second = World(hook(batch_end=Position(2, 1, START), tries=1))
    second.events.commit(change(1), change(2), change(3))
    async with second.couriers.running():
        await second.couriers.step()
        await second.receivers.until(lambda: "3-1" in second.receivers.ids("https://w1/"))

    assert second.receivers.got["https://w1/"][0] == first.receivers.got["https://w1/"][0]
    assert second.receivers.ids("https://w1/") == ["1-1", "2-1", "3-1"]


async def test_dead_receiver_holds_up_no_other() -> None:
    dead = [hook(n, tries=1) for n in range(1, 101)]
    world = World(*dead, hook(500))
    world.receivers.silent = {one.url for one in dead}
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))

        await world.receivers.until(lambda: world.receivers.ids("https://w500/") == ["1-1"])


async def test_receiver_that_is_gone_is_switched_off() -> None:
    world = World(hook())
    world.receivers.answers["https://w1/"] = [Answer(410)]
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1), change(2))
        await world.hooks.recorded.wait()
        await world.couriers.step()

    assert world.hooks.records == [("disabled", 1, "gone")]
    assert world.count(names.WEBHOOKS_DISABLED, reason="gone") == 1
    assert len(world.receivers.got["https://w1/"]) == 1


async def test_receiver_that_failed_for_three_days_is_switched_off() -> None:
    world = World(hook(tries=90, failing_for=timedelta(days=3)))
    world.receivers.answers["https://w1/"] = [REFUSED]
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))
        await world.hooks.recorded.wait()

    assert world.hooks.records == [("disabled", 1, "failing")]


async def test_webhook_that_passed_on_is_let_go_amid_a_post() -> None:
    world = World(hook())
    world.receivers.silent = {"https://w1/"}
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))
        await world.receivers.until(lambda: bool(world.receivers.got))
        world.hooks.mine.clear()

        await world.couriers.step()

    assert world.count(names.WEBHOOKS_HELD) == 0
    assert world.hooks.records == []


async def test_nothing_is_posted_after_the_lease_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(couriers_module, "LEASE", timedelta(0))
    world = World(hook())
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await world.receivers.until(lambda: bool(world.receivers.got))
        monkeypatch.setattr(couriers_module, "LEASE", timedelta(seconds=8))

        await world.couriers.step()
        await world.receivers.until(lambda: bool(world.receivers.got))


async def test_what_was_taken_is_recorded_once_the_ledger_is_back() -> None:
    world = World(hook())
    world.hooks.failing = 3
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))
        await world.hooks.recorded.wait()

    assert world.hooks.records == [("taken", 1, "")]
    assert len(world.receivers.got["https://w1/"]) == 1


async def test_ledger_that_is_away_delays_and_loses_nothing() -> None:
    world = World(hook())
    world.events.failing = Away()
    async with world.couriers.running():
        await world.couriers.step()
        world.events.commit(change(1))
        await world.events.failed.wait()
        with pytest.raises(Unavailable):
            await world.feed.poll()
        world.events.failing = None

        await world.receivers.until(lambda: world.receivers.ids("https://w1/") == ["1-1"])


async def test_webhook_behind_what_is_kept_notes_the_gap_and_goes_on() -> None:
    world = World(hook(position=Position(1, 1, START - timedelta(days=9))))
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(2))
        await world.receivers.until(lambda: world.receivers.ids("https://w1/") == ["2-1"])

    assert world.hooks.losses == [Lost(START - timedelta(days=9), world.events.oldest)]
    assert world.count(names.WEBHOOK_GAPS) == 1


async def test_stop_gives_the_leases_back() -> None:
    world = World(hook(1), hook(2))
    async with world.couriers.running():
        await world.couriers.step()
        assert world.hooks.mine == {1, 2}

    assert world.hooks.mine == set()


async def test_defect_of_one_courier_is_logged_and_its_webhook_left_to_its_lease(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(hook(1), hook(2))

    def broken(hook: Hook, batch: Batch) -> bytes:
        if hook.webhook_id == 1:
            raise ZeroDivisionError
        return body_of(hook, batch)

    monkeypatch.setattr(couriers_module, "body_of", broken)
    async with world.couriers.running():
        await world.couriers.step()
        await world.happens(change(1))
        await world.receivers.until(lambda: world.receivers.ids("https://w2/") == ["1-1"])

        await world.couriers.step()

        assert world.count(names.WEBHOOKS_HELD) == 1

    assert "stopped by a defect" in caplog.text


async def test_sample_is_posted_and_its_answer_kept() -> None:
    world = World()
    test_id = UUID(int=5)
    world.hooks.asked = [Sample(test_id, hook(3))]
    world.receivers.answers["https://w3/"] = [Answer(404)]

    await world.couriers.test()

    assert world.hooks.answers[test_id].fault == "HTTP 404"
    assert world.receivers.got["https://w3/"] == [(f"msg_test_{test_id}", [])]
