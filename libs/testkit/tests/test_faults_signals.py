import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from clarion_local.process import Command, ManagedProcess
from clarion_testkit.faults.signals import NotOurs, Signals

PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)']);"
    "print('child', child.pid, flush=True); child.wait(); import time; time.sleep(60)"
)


@pytest.fixture
async def signals() -> AsyncIterator[Signals]:
    async with Signals() as signals:
        yield signals


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[ManagedProcess]:
    """A process with one child, whose pid is the last word of the log."""
    command = Command("parent", [sys.executable, "-I", "-S", "-c", PARENT], log=tmp_path / "log")
    process = await ManagedProcess.start(command)
    await process.ready_when_logged("child", timedelta(seconds=10))
    yield process
    await process.stop(timedelta(0))


def child_of(parent: ManagedProcess) -> psutil.Process:
    return psutil.Process(int(parent.log_tail.split()[-1]))


async def test_frozen_process_stands_until_it_is_thawed(signals: Signals, parent: ManagedProcess) -> None:
    await signals.freeze(parent.pid)
    assert psutil.Process(parent.pid).status() == psutil.STATUS_STOPPED
    assert child_of(parent).status() != psutil.STATUS_STOPPED

    signals.thaw(parent.pid)

    assert psutil.Process(parent.pid).status() != psutil.STATUS_STOPPED


async def test_tree_stands_as_a_whole_and_is_thawed_on_exit(parent: ManagedProcess) -> None:
    async with Signals() as signals:
        await signals.freeze(parent.pid, tree=True)
        assert child_of(parent).status() == psutil.STATUS_STOPPED

    assert psutil.Process(parent.pid).status() != psutil.STATUS_STOPPED
    assert child_of(parent).status() != psutil.STATUS_STOPPED


async def test_frozen_tree_can_be_killed(signals: Signals, parent: ManagedProcess) -> None:
    child = child_of(parent)
    await signals.freeze(parent.pid, tree=True)

    await signals.kill(parent.pid, tree=True)

    assert await asyncio.wait_for(parent.wait(), 5) == -9
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


async def test_process_that_is_not_a_descendant_is_left_alone(signals: Signals) -> None:
    for foreign in (os.getpid(), os.getppid(), 1):
        with pytest.raises(NotOurs):
            await signals.freeze(foreign)
        with pytest.raises(NotOurs):
            await signals.kill(foreign)


async def test_process_that_is_gone_is_refused(signals: Signals) -> None:
    process = await asyncio.create_subprocess_exec("/bin/true")
    await process.wait()

    with pytest.raises(NotOurs, match="no process"):
        await signals.kill(process.pid)
