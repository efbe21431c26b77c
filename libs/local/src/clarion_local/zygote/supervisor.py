"""The supervisor's side of the zygote: start it, have it fork daemons, watch and end them."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from clarion_local.process import Command, ManagedProcess, StartFailed, stop_within, tail
from clarion_local.zygote.messages import (
    MAX_LINE_BYTES,
    Exited,
    Ready,
    Refused,
    Report,
    Request,
    Signal,
    Spawn,
    Spawned,
    decode_report,
    encode,
)

_SPAWN_LIMIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What a child runs: ``module.function()``, whose result is the exit status as in `sys.exit`.

    `env` is the whole environment; `log` receives stdout and stderr (appended, mode 0600).
    """

    name: str
    module: str
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    function: str = "main"


class ZygoteChild:
    """A daemon that the zygote forked; a `Process`."""

    def __init__(self, entry: Entry, pid: int, zygote: "Zygote", log_start: int) -> None:
        self._entry = entry
        self._pid = pid
        self._zygote = zygote
        self._log_start = log_start
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        return self._entry.name

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    @property
    def log_tail(self) -> str:
        """The last lines that this child wrote."""
        return tail(self._entry.log, self._log_start)

    def send_signal(self, number: signal.Signals) -> None:
        if not self._ended.done():
            self._zygote.send(Signal(self._pid, int(number)))

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def stop(self, grace: timedelta) -> int:
        return await stop_within(self, signal.SIGTERM, grace)

    def ended_with(self, returncode: int) -> None:
        """Only for the zygote: record the end."""
        self._ended.set_result(returncode)


class Zygote:
    """A running fork server; every child ends with it, and it ends with the thread that started it."""

    def __init__(self, process: ManagedProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._next_id = 0
        self._spawning: dict[int, tuple[Entry, int, asyncio.Future[ZygoteChild]]] = {}
        self._children: dict[int, ZygoteChild] = {}
        self._import_seconds = 0.0
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        preload: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        limit: timedelta = timedelta(seconds=60),
    ) -> Self:
        """Start a zygote and wait until it has imported the modules named in `preload`.

        What modules and C libraries read from the environment while they are imported (``GRPC_…`` variables) they read
        from `env` (None: ours), not from a child's. No preloaded module may start a thread when it is imported.
        Raises StartFailed, with the last lines of `log`, when an import fails or `limit` passes.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await ManagedProcess.start(
                    Command(
                        "zygote",
                        [sys.executable, "-m", "clarion_local.zygote", str(theirs.fileno()), *preload],
                        log=log,
                        env=env,
                        pass_fds=[theirs.fileno()],
                    )
                )
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        except BaseException:
            ours.close()
            raise
        zygote = cls(process, reader, writer)
        try:
            async with asyncio.timeout(limit.total_seconds()):
                await zygote._until_ready()
        except TimeoutError:
            await zygote.stop(timedelta(0))
            raise StartFailed("zygote", f"not ready within {limit.total_seconds():g} s", process.log_tail) from None
        except BaseException:
            await zygote.stop(timedelta(0))
            raise
        zygote._listening = asyncio.create_task(zygote._listen(), name="zygote reports")
        return zygote

    @property
    def process(self) -> ManagedProcess:
        """The zygote itself."""
        return self._process

    @property
    def import_seconds(self) -> float:
        """CPU time that the imports took, once for all children."""
        return self._import_seconds

    async def spawn(self, entry: Entry) -> ZygoteChild:
        """Fork a child; it runs when this returns, it need not be ready.

        Raises StartFailed when the zygote refuses or is gone.
        """
        if self._writer.is_closing():
            raise StartFailed(entry.name, "the zygote is gone", self._process.log_tail)
        log_start = _size(entry.log)
        self._next_id += 1
        number = self._next_id
        waiting: asyncio.Future[ZygoteChild] = asyncio.get_running_loop().create_future()
        self._spawning[number] = (entry, log_start, waiting)
        request = Spawn(
            id=number,
            name=entry.name,
            module=entry.module,
            function=entry.function,
            env=entry.env,
            log=str(entry.log.absolute()),
        )
        try:
            async with asyncio.timeout(_SPAWN_LIMIT_SECONDS):
                self.send(request)
                return await waiting
        except TimeoutError:
            raise StartFailed(entry.name, "the zygote does not answer") from None
        finally:
            self._spawning.pop(number, None)

    async def stop(self, grace: timedelta = timedelta(seconds=5)) -> None:
        """End the zygote and kill what it still has; stop the children first where they should end in order."""
        self._writer.close()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace.total_seconds()):
                    await self._process.wait()
        finally:
            await self._process.stop(timedelta(0))
            if self._listening is not None:
                self._listening.cancel()
                await asyncio.wait([self._listening])
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            self._all_lost()

    def send(self, request: Request) -> None:
        """Only for the children: pass a request on; a zygote that is gone gets none."""
        if not self._writer.is_closing():
            self._writer.write(encode(request))

    async def _until_ready(self) -> None:
        line = await self._reader.readline()
        match decode_report(line) if line else None:
            case Ready(seconds):
                self._import_seconds = seconds
            case _:
                await self._process.wait()
                raise StartFailed("zygote", "ended before it was ready", self._process.log_tail)

    async def _listen(self) -> None:
        try:
            with contextlib.suppress(ConnectionResetError):
                while line := await self._reader.readline():
                    self._hear(decode_report(line))
        finally:
            # A zygote that is no longer understood ends by this, and its children with it.
            self._writer.close()
            self._all_lost()

    def _hear(self, report: Report) -> None:
        match report:
            case Spawned(number, pid):
                self._welcome(number, pid)
            case Refused(number, problem) if number in self._spawning:
                entry, _, waiting = self._spawning[number]
                if not waiting.done():
                    waiting.set_exception(StartFailed(entry.name, problem))
            case Exited(pid, returncode) if pid in self._children:
                self._children.pop(pid).ended_with(returncode)
            case _:
                pass

    def _welcome(self, number: int, pid: int) -> None:
        if number not in self._spawning:
            # Whoever asked has given up.
            self.send(Signal(pid, int(signal.SIGKILL)))
            return
        entry, log_start, waiting = self._spawning[number]
        child = ZygoteChild(entry, pid, self, log_start)
        self._children[pid] = child
        if not waiting.done():
            waiting.set_result(child)

    def _all_lost(self) -> None:
        """The kernel kills every child together with the zygote."""
        for entry, _, waiting in self._spawning.values():
            if not waiting.done():
                waiting.set_exception(StartFailed(entry.name, "the zygote is gone", self._process.log_tail))
        for child in self._children.values():
            child.ended_with(-int(signal.SIGKILL))
        self._children.clear()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
