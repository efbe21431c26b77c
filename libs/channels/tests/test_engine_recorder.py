"""When gathered outcomes are written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from clarion_channels.engine import recorder as recorder_module
from clarion_channels.engine.recorder import ENOUGH, Recorder
from clarion_kit.vocabulary import DeliveryState, Priority
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record

from .claimed_sample import CLAIMED


def sent(number: int, priority: Priority = Priority.NORMAL) -> Record:
    return Record(replace(CLAIMED, delivery_id=UUID(int=number), priority=priority), DeliveryState.SENT)


class Ledger:
    """Takes records; `commits` says how many at a time."""

    def __init__(self) -> None:
        self.commits: asyncio.Queue[int] = asyncio.Queue()

    async def record(self, pool: Pool, records: Sequence[Record]) -> set[UUID]:
        self.commits.put_nowait(len(records))
        return {done.claimed.delivery_id for done in records}

    async def next_commit(self) -> int:
        async with asyncio.timeout(5):
            return await self.commits.get()


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger()
    monkeypatch.setattr(recorder_module, "record", ledger.record)
    return ledger


@asynccontextmanager
async def recording(linger: timedelta = timedelta(hours=1)) -> AsyncIterator[Recorder]:
    """At work; nothing is written only because time passed, unless `linger` is short."""
    recorder = Recorder(cast(Pool, None), lambda records, held: None, linger)
    running = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        running.cancel()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_outcomes_that_come_one_by_one_are_written_together(ledger: Ledger) -> None:
    async with recording() as recorder:
        for number in range(ENOUGH):
            assert ledger.commits.empty()
            recorder.put(sent(number))
            await asyncio.sleep(0)

        assert await ledger.next_commit() == ENOUGH


async def test_urgent_outcome_is_written_at_once_and_takes_the_waiting_along(ledger: Ledger) -> None:
    async with recording() as recorder:
        recorder.put(sent(1))
        await turns()
        assert ledger.commits.empty()
        recorder.put(sent(2, Priority.URGENT))

        assert await ledger.next_commit() == 2
        recorder.put(sent(3))
        await turns()
        assert ledger.commits.empty()


async def test_who_leaves_does_not_wait_for_more_to_come(ledger: Ledger) -> None:
    async with recording() as recorder:
        recorder.put(sent(1))
        await turns()

        with recorder.hurried():
            assert await ledger.next_commit() == 1
            recorder.put(sent(2))
            assert await ledger.next_commit() == 1


async def test_single_outcome_is_written_after_its_time(ledger: Ledger) -> None:
    async with recording(timedelta(milliseconds=1)) as recorder:
        recorder.put(sent(1))

        assert await ledger.next_commit() == 1
