"""The daemons of a stack: processes forked from a zygote, or tasks of this process."""

import asyncio
import importlib
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from clarion_kit import daemon as kit_daemon
from clarion_kit import mesh, tls
from clarion_local.process import StartFailed
from clarion_local.zygote.supervisor import Entry, Zygote, ZygoteChild

PRELOADED = tuple(f"clarion_{name}.app" for name in mesh.DAEMONS)
"""Imported once for all daemons; a composition root of the stack, which is why it may name services."""


class Daemons(Protocol):
    """How a stack starts, watches and stops its daemons."""

    async def spawn(self, name: str, daemon: str, env: Mapping[str, str], log: Path) -> None:
        """Start a replica of a daemon with this environment. Raises StartFailed."""
        ...

    def check(self) -> None:
        """Raise StartFailed if one has ended that was not asked to."""
        ...

    def pids(self) -> dict[str, int]:
        """Process ids by replica; several may share one."""
        ...

    async def stop(self, grace: timedelta) -> None:
        """End all of them, together."""
        ...


class Forked:
    """Each replica a process."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self._children: dict[str, ZygoteChild] = {}
        self._expected: set[str] = set()
        self._stopping = False

    @staticmethod
    @asynccontextmanager
    async def start(log: Path) -> AsyncIterator["Forked"]:
        """Daemons share what one process has imported; it ends when this is left."""
        tls.restrict_cipher_suites()
        zygote = await Zygote.start(PRELOADED, log)
        try:
            yield Forked(zygote)
        finally:
            await zygote.stop()

    async def spawn(self, name: str, daemon: str, env: Mapping[str, str], log: Path, *, may_end: bool = False) -> None:
        """`may_end`: its end is no fault, for example at a crash point. Raises StartFailed."""
        entry = Entry(name, f"clarion_{daemon}.__main__", log, dict(env))
        self._children[name] = await self._zygote.spawn(entry)
        (self._expected.add if may_end else self._expected.discard)(name)

    def expect_end(self, name: str) -> None:
        """The end of this start is no fault."""
        self._expected.add(name)

    def check(self) -> None:
        for name, child in self._children.items():
            if child.returncode is not None and not self._stopping and name not in self._expected:
                raise StartFailed(name, f"ended with status {child.returncode}", child.log_tail)

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self._children.items()}

    def child(self, name: str) -> ZygoteChild:
        """The process of a replica."""
        return self._children[name]

    async def stop(self, grace: timedelta) -> None:
        self._stopping = True
        async with asyncio.TaskGroup() as group:
            for child in self._children.values():
                # One that somebody froze could not end by itself.
                child.send_signal(signal.SIGCONT)
                group.create_task(child.stop(grace))


class AllInOne:
    """All daemons in this process, for small installations and quick tests."""

    def __init__(self) -> None:
        self._stopping = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        tls.restrict_cipher_suites()

    async def spawn(self, name: str, daemon: str, env: Mapping[str, str], log: Path) -> None:
        module = importlib.import_module(f"clarion_{daemon}.app")
        settings = importlib.import_module(f"clarion_{daemon}.settings").Settings
        running = kit_daemon.run(daemon, settings, module.build, env=env, stopping=self._stopping)
        self._tasks[name] = asyncio.create_task(running, name=name)

    def check(self) -> None:
        for name, task in self._tasks.items():
            if task.done() and not self._stopping.is_set():
                error = None if task.cancelled() else task.exception()
                raise StartFailed(name, f"ended: {error!r}", "") from error

    def pids(self) -> dict[str, int]:
        return {}

    async def stop(self, grace: timedelta) -> None:
        self._stopping.set()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks.values(), timeout=grace.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
