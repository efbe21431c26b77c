"""The generator's ways of making load, against a service that can stall."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_local.bench import samples
from clarion_local.bench.generator import jobs
from clarion_local.bench.generator.jobs import Done, Job
from clarion_local.bench.generator.modes import Load


class Service:
    """Takes everything; stands still until so many wait, or refuses the first calls."""

    def __init__(self, *, stall_until: int = 0, refuse: int = 0) -> None:
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.taken: list[str] = []
        self._stall_until, self._refuse = stall_until, refuse
        self._called = 0
        self._going = asyncio.Event()

    def reset(self) -> None:
        self.refused.clear()
        self.failed.clear()

    async def single(self, request: bytes) -> int:
        return await self._answer([pb.SendRequest.FromString(request).notification.event_id])

    async def batch(self, request: bytes) -> int:
        return await self._answer([item.event_id for item in pb.SendBatchRequest.FromString(request).notifications])

    async def stream(self, requests: Iterable[bytes]) -> int:
        return sum([await self.single(request) for request in requests])

    async def _answer(self, event_ids: list[str]) -> int:
        self._called += 1
        if self._called >= self._stall_until:
            self._going.set()
        await self._going.wait()
        if self._refuse:
            self._refuse -= 1
            self.failed["UNAVAILABLE"] += 1
            return 0
        self.taken += event_ids
        return len(event_ids)


async def _run(job: Job, service: Service) -> Done:
    return await Load(job, service, lambda: len(service.taken)).run()


async def test_a_stall_is_charged_to_every_call_that_was_meant_for_its_time(tmp_path: Path) -> None:
    job = Job("run", "open", people=10, folder=str(tmp_path), rate=200, seconds=0.4, unary_share=1.0)

    done = await _run(job, Service(stall_until=41))

    waits = sorted(samples.read(tmp_path / "run.unary"), reverse=True)
    assert done.accepted == len(waits) == 80
    # Nobody was answered before the 41st call, 5 ms after the one before: a closed loop would have seen one long wait.
    for place, wait in enumerate(waits[:40]):
        assert wait >= (40 - place) * 5 - 1


async def test_open_load_sends_each_event_once_whatever_becomes_of_it(tmp_path: Path) -> None:
    service = Service(refuse=3)
    job = Job("run", "open", people=10, folder=str(tmp_path), rate=400, seconds=0.5)

    done = await _run(job, service)

    assert len(set(service.taken)) == len(service.taken) == done.accepted
    assert done.failed == {"UNAVAILABLE": 3}


@pytest.mark.parametrize("mode", ["closed", "unary", "batch", "stream"])
async def test_closed_load_hands_in_every_number_once(tmp_path: Path, mode: jobs.Mode) -> None:
    service = Service()
    job = Job("run", mode, people=10, folder=str(tmp_path), count=1_234, window=0)

    done = await _run(job, service)

    assert done.accepted == 1_234
    assert sorted(service.taken) == sorted(f"run:{number}" for number in range(1_234))


async def test_closed_load_repeats_what_was_not_taken_under_the_same_ids(tmp_path: Path) -> None:
    service = Service(refuse=2)
    job = Job("run", "batch", people=10, folder=str(tmp_path), count=1_000)

    done = await _run(job, service)

    assert done.accepted == 1_000
    assert sorted(service.taken) == sorted(f"run:{number}" for number in range(1_000))


async def test_scheduled_items_are_due_in_even_steps(tmp_path: Path) -> None:
    service = Service()
    job = Job("run", "batch", people=10, folder=str(tmp_path), count=100, due_in=60, due_over=10)

    done = await _run(job, service)

    assert done.due_step == pytest.approx(0.1)
    assert done.due_first > done.began_at + 50


def test_jobs_and_answers_survive_the_way_to_the_other_process() -> None:
    job = Job("run", "open", people=5, folder="/x", rate=1.5, seconds=2.0, channels=(1, 5))
    done = Done(3, 1.5, 2.5, {"a": 1}, {"b": 2}, 0.25, 9.0, 0.5)
    target = jobs.Target("127.0.0.1:1", "ca", "key", "secret", "sandbox.json")

    assert jobs.job_of(jobs.to_line(job)) == job
    assert jobs.done_of(jobs.to_line(done)) == done
    assert jobs.target_of(jobs.to_line(target)) == target
    assert "secret" not in repr(target)
