"""The bus against a real NATS."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from clarion.bus.v1.work_pb2 import Kind, Work
from clarion_kit import bus as bus_module
from clarion_kit.bus import MAX_IDS, Batch, BusUnavailable, JetStreamBus, LaneDepth, Verdict, decode
from clarion_kit.subjects import Lane, Stream, Subjects, all_lanes, dispatch_lanes, plan_lane
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, Priority
from clarion_local.servers.nats import NatsServer
from clarion_testkit.depth import waiting

PLAN = plan_lane(Priority.NORMAL)
IOS, *_ = dispatch_lanes(Channel.IOS)
SMS = Lane(Stream.DISPATCH, Priority.BULK, Channel.SMS)
TRACED = "00-0000000000000000000000000000000a-00000000000000aa-01"


def ids(count: int, start: int = 0) -> list[bytes]:
    return [n.to_bytes(16) for n in range(start, start + count)]


class Taken:
    """A handler that keeps what it was given and says what it is told to."""

    def __init__(self, *verdicts: Verdict | Exception) -> None:
        self.batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._verdicts = list(verdicts)

    async def __call__(self, batch: Batch) -> Verdict:
        self.batches.put_nowait(batch)
        verdict = self._verdicts.pop(0) if self._verdicts else Verdict.ACK
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    async def next(self) -> Batch:
        return await asyncio.wait_for(self.batches.get(), 15)


@asynccontextmanager
async def consuming(bus: JetStreamBus, lane: Lane, taken: Taken, *, max_messages: int = 16) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.consume(lane, taken, stopping, max_messages=max_messages))
        try:
            yield
        finally:
            stopping.set()


async def settled(bus: JetStreamBus, lane: Lane, count: int) -> LaneDepth:
    """The lane's depth once `count` of its messages are settled."""
    async with asyncio.timeout(10):
        while True:
            depth = await bus.depth(lane)
            if depth.settled >= count:
                return depth
            await asyncio.sleep(0.02)


async def put_raw(bus: JetStreamBus, subject: str, payload: bytes) -> None:
    await bus._jetstream.publish(subject, payload)


async def test_published_ids_arrive(bus: JetStreamBus) -> None:
    taken = Taken()
    await bus.publish(PLAN, ids(3), [None, TRACED, None])

    async with consuming(bus, PLAN, taken):
        batch = await taken.next()

    assert batch.ids == ids(3)
    assert batch.link[3:35] == TRACED[3:35]


async def test_messages_hold_a_hundred_ids_and_are_merged_into_batches(bus: JetStreamBus) -> None:
    taken = Taken()
    await bus.publish(PLAN, ids(250))
    messages = await waiting(bus, [PLAN])

    async with consuming(bus, PLAN, taken):
        batch = await taken.next()

    assert messages == [3]
    assert sorted(batch.ids) == ids(250)


async def test_id_that_came_twice_is_given_once(bus: JetStreamBus) -> None:
    taken = Taken()
    await bus.publish(PLAN, ids(2))
    await bus.publish(PLAN, ids(2))

    async with consuming(bus, PLAN, taken):
        batch = await taken.next()

    assert batch.ids == ids(2)


async def test_lanes_do_not_mix(bus: JetStreamBus) -> None:
    taken = Taken()
    await bus.publish(SMS, ids(1, 7))
    await bus.publish(IOS, ids(1, 9))

    async with consuming(bus, IOS, taken):
        batch = await taken.next()

    assert batch.ids == ids(1, 9)
    assert await waiting(bus, [SMS]) == [1]


async def test_settled_counts_the_lanes_own_messages(bus: JetStreamBus) -> None:
    taken = Taken()
    for n in range(5):
        await bus.publish(SMS, ids(1, n))
    await bus.publish(IOS, ids(1, 9))

    async with consuming(bus, IOS, taken):
        await taken.next()
        depth = await settled(bus, IOS, 1)

    assert depth == LaneDepth(waiting=0, pending=0, settled=1)


@pytest.mark.parametrize("verdict", [Verdict.LATER, ValueError("a defect")])
async def test_batch_that_cannot_be_done_now_comes_again(bus: JetStreamBus, verdict: Verdict | Exception) -> None:
    taken = Taken(verdict)
    await bus.publish(PLAN, ids(2))

    async with consuming(bus, PLAN, taken):
        first, second = await taken.next(), await taken.next()
        await settled(bus, PLAN, 1)

    assert first == second


async def test_unreadable_message_does_not_block_its_neighbours(bus: JetStreamBus, subjects: Subjects) -> None:
    taken = Taken()
    await put_raw(bus, subjects.subject(PLAN), b"\xff\xff")
    await put_raw(bus, subjects.subject(PLAN), Work(ids=[b"short"]).SerializeToString())
    await bus.publish(PLAN, ids(1))

    async with consuming(bus, PLAN, taken):
        batch = await taken.next()
        depth = await settled(bus, PLAN, 3)

    assert batch.ids == ids(1)
    assert (depth.waiting, depth.pending) == (0, 0)


async def test_stop_waits_for_the_batch_in_hand(bus: JetStreamBus) -> None:
    started, release, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(batch: Batch) -> Verdict:
        started.set()
        await release.wait()
        done.set()
        return Verdict.ACK

    await bus.publish(PLAN, ids(1))
    stopping = asyncio.Event()
    loop = asyncio.create_task(bus.consume(PLAN, slow, stopping, max_messages=16))
    await asyncio.wait_for(started.wait(), 10)
    stopping.set()
    finished, _ = await asyncio.wait({loop}, timeout=0.05)
    assert not finished
    release.set()
    await asyncio.wait_for(loop, 10)

    assert done.is_set()
    assert await settled(bus, PLAN, 1) == LaneDepth(0, 0, 1)


async def test_topology_is_made_once_and_confirmed_again(bus: JetStreamBus, subjects: Subjects) -> None:
    await bus.publish(PLAN, ids(1))
    before = await bus.stream_identity(Stream.PLAN)

    await bus.ensure_topology()

    assert await bus.stream_identity(Stream.PLAN) == before
    for spec in subjects.streams():
        config = (await bus._jetstream.stream_info(subjects.stream_name(spec.stream))).config
        assert (config.subjects, config.max_bytes) == (list(spec.subjects), spec.max_bytes)


async def test_oldest_message_tells_its_time(bus: JetStreamBus) -> None:
    empty = await bus.oldest(PLAN)
    await bus.publish(PLAN, ids(1))
    await bus.publish(plan_lane(Priority.BULK), ids(1))
    first = await bus.oldest(PLAN)
    await bus.publish(PLAN, ids(1, 5))

    assert empty is None
    assert first is not None
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
    assert await bus.oldest(PLAN) == first


async def test_stream_identity_follows_the_last_message(bus: JetStreamBus) -> None:
    created, before = await bus.stream_identity(Stream.PLAN)
    await bus.publish(PLAN, ids(1))

    assert await bus.stream_identity(Stream.PLAN) == (created, before + 1)
    assert created.tzinfo is not None


async def test_publish_to_a_missing_stream_is_not_confirmed(nats_url: str, telemetry: Telemetry) -> None:
    async with JetStreamBus.connect(nats_url, "test", Subjects("nobody"), telemetry) as bus:
        with pytest.raises(BusUnavailable):
            await bus.publish(PLAN, ids(1))
        with pytest.raises(BusUnavailable):
            await bus.depth(PLAN)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A NATS of this test alone."""
    server = NatsServer(tmp_path)
    await server.start()
    yield server
    await server.stop(timedelta(seconds=5))


async def test_bus_survives_a_restart_of_its_server(
    server: NatsServer, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "PUBLISH_TIMEOUT", timedelta(milliseconds=500))
    taken = Taken()
    async with JetStreamBus.connect(server.url(), "test", Subjects(), telemetry) as bus:
        await bus.ensure_topology()
        async with consuming(bus, PLAN, taken):
            await bus.publish(PLAN, ids(1))
            before = await taken.next()
            await server.stop()
            async with asyncio.timeout(5):
                with pytest.raises(BusUnavailable):
                    await bus.publish(PLAN, ids(1, 1))
                with pytest.raises(BusUnavailable):
                    await bus.ping()
            await server.start()
            await until_it_answers(bus)
            await bus.publish(PLAN, ids(1, 2))
            seen = Counter((await taken.next()).ids)
            while ids(1, 2)[0] not in seen:
                seen.update((await taken.next()).ids)

    assert before.ids == ids(1)


async def test_bus_that_is_away_at_the_start_is_used_when_it_comes(
    tmp_path: Path, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "FIRST_CONNECTION", timedelta(milliseconds=100))
    monkeypatch.setattr(bus_module, "PUBLISH_TIMEOUT", timedelta(seconds=2))
    server = NatsServer(tmp_path)
    await server.start()
    await server.stop()
    try:
        async with JetStreamBus.connect(server.url(), "test", Subjects(), telemetry) as bus:
            with pytest.raises(BusUnavailable):
                await bus.ping()
            with pytest.raises(BusUnavailable):
                await bus.publish(PLAN, ids(1))
            await server.start()
            await until_it_answers(bus)
            await bus.ensure_topology()
            await bus.publish(PLAN, ids(1))
            assert await waiting(bus, [PLAN]) == [1]
    finally:
        await server.stop()


async def until_it_answers(bus: JetStreamBus) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                return await bus.ping()
            except BusUnavailable:
                await asyncio.sleep(0.05)


@given(st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=MAX_IDS), st.sampled_from([1, 2, 3]))
def test_message_of_ours_is_read(work_ids: list[bytes], kind: Kind.ValueType) -> None:
    work = Work(ids=work_ids, kind=kind)

    assert decode(work.SerializeToString()) == work


@given(st.binary(max_size=200))
def test_anything_else_is_no_message(payload: bytes) -> None:
    work = decode(payload)

    assert work is None or (work.ids and all(len(id_) == 16 for id_ in work.ids))


@pytest.mark.parametrize("work", [Work(), Work(ids=[b"short"]), Work(ids=ids(MAX_IDS + 1))])
def test_message_with_a_wrong_number_or_size_of_ids_is_none_of_ours(work: Work) -> None:
    assert decode(work.SerializeToString()) is None


def test_every_lane_has_names_of_its_own() -> None:
    lanes, subjects = list(all_lanes()), Subjects()

    assert len(lanes) == 3 + 5 * 6
    assert len({lane.name for lane in lanes}) == len({subjects.subject(lane) for lane in lanes}) == len(lanes)
    assert (IOS.name, subjects.subject(IOS)) == ("dispatch-ios-urgent", "clarion.v1.dispatch.ios.urgent")
    assert Subjects("other").stream_name(Stream.PLAN) != subjects.stream_name(Stream.PLAN)
