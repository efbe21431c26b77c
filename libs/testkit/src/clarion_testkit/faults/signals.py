"""Processes of ours that stand still or die."""

import signal
from datetime import timedelta
from pathlib import Path
from typing import Final

import psutil

from clarion_local.process import becomes_true
from clarion_testkit.faults.tool import Tool

_LIMIT: Final = timedelta(seconds=5)
_STOPPED: Final = frozenset("Tt")


class NotOurs(Exception):
    """The process was not started by this one, nor by one that was: it is left alone."""


class Signals(Tool):
    """Freezes, thaws and kills descendants of this process; what is still frozen at the end is thawed."""

    def __init__(self) -> None:
        self._frozen: dict[int, list[psutil.Process]] = {}

    async def start(self) -> None:
        """Nothing to prepare."""

    async def stop(self) -> None:
        for pid in list(self._frozen):
            self.thaw(pid)

    async def freeze(self, pid: int, *, tree: bool = False) -> None:
        """Stop the process (SIGSTOP), with `tree` all its descendants too (Postgres is many), and return when all stand.

        Raises NotOurs, TimeoutError when they do not stand within 5 s.
        """
        top = _ours(pid)
        frozen = self._frozen.setdefault(pid, [])
        # A parent that stands has no more children; those it had may have some until they stand as well.
        found = [top]
        while found:
            for process in found:
                frozen.append(process)
                _send(process, signal.SIGSTOP)
            if not await becomes_true(lambda: all(_stands(process) for process in frozen), _LIMIT):
                raise TimeoutError(f"process {pid} does not stand still")
            known = set(frozen)
            found = [child for child in _descendants(top) if child not in known] if tree else []

    def thaw(self, pid: int) -> None:
        """Let what `freeze` stopped under this pid go on; does nothing if that was nothing, or has ended."""
        for process in self._frozen.pop(pid, []):
            _send(process, signal.SIGCONT)

    async def kill(self, pid: int, *, tree: bool = False) -> None:
        """End the process at once (SIGKILL), frozen or not, with `tree` all its descendants too.

        Raises NotOurs, TimeoutError when they do not end within 5 s.
        """
        top = _ours(pid)
        # The parent first, so that it does not replace its children.
        killed = [top, *(_descendants(top) if tree else ())]
        for process in killed:
            _send(process, signal.SIGKILL)
        self._frozen.pop(pid, None)
        if not await becomes_true(lambda: all(_has_ended(process) for process in killed), _LIMIT):
            raise TimeoutError(f"process {pid} survives SIGKILL")


def _ours(pid: int) -> psutil.Process:
    try:
        process = psutil.Process(pid)
        ancestors = process.parents()
    except psutil.NoSuchProcess:
        raise NotOurs(f"there is no process {pid}") from None
    if psutil.Process() not in ancestors:
        raise NotOurs(f"process {pid} does not descend from this one")
    return process


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        # psutil compares the start time first: a pid given to somebody else since is never hit.
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _stands(process: psutil.Process) -> bool:
    """Whether every thread has stopped, or the process has ended."""
    if _has_ended(process):
        return True
    try:
        threads = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        # A thread ended between the listing and the look.
        return False
    # proc(5): the state follows the name, which is in parentheses and may itself hold some.
    return all(thread.rpartition(") ")[2][0] in _STOPPED for thread in threads)
