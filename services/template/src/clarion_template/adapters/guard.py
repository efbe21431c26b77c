"""The guarded child as its parent sees it: one process, started when needed, replaced when it was ended."""

import asyncio
import logging
import os
import sys
from asyncio import IncompleteReadError
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from clarion_kit.errors import DomainError, ErrorReason
from clarion_template.guard.protocol import LENGTH, Conversion, Request, answer_from_body, request_to_frame
from clarion_template.source.sheet import Failure, RenderFault

log = logging.getLogger(__name__)

START_TIMEOUT = timedelta(seconds=10)
ANSWER_TIMEOUT = timedelta(seconds=1)
"""The child's own limit is 100 ms of CPU; this one is for a child that waits or a machine that starves it."""
QUEUE_TIMEOUT = timedelta(seconds=5)
_MODULE = "clarion_template.guard.child"


class GuardedChild:
    """Implements the port Guard. One request at a time; others wait at most 5 s."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["GuardedChild"]:
        """A guard with its child started; ended on exit."""
        guard = cls()
        await guard._child()
        try:
            yield guard
        finally:
            await guard._end()

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        return self._process.pid if self._process else None

    async def render(self, request: Request) -> str:
        """Render in the child. Raises RenderFault, DomainError OVERLOADED when the guard is too busy."""
        return await self._answer(request)

    async def convert(self, request: Conversion) -> str:
        """Convert in the child. Raises RenderFault, DomainError OVERLOADED when the guard is too busy."""
        return await self._answer(request)

    async def _answer(self, request: Request | Conversion) -> str:
        try:
            await asyncio.wait_for(self._turn.acquire(), QUEUE_TIMEOUT.total_seconds())
        except TimeoutError:
            raise DomainError(ErrorReason.OVERLOADED, "too many previews at once; try again") from None
        try:
            return answer_from_body(await self._ask(request_to_frame(request)))
        finally:
            self._turn.release()

    async def _ask(self, frame: bytes) -> bytes:
        process = await self._child()
        answered = False
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
                answer = await _exchange(process, frame)
            answered = True
            return answer
        except (IncompleteReadError, ConnectionError, TimeoutError):
            log.warning("a guarded render was ended")
            raise RenderFault(Failure.TOO_LARGE, "goes over the limits of time (100 ms) or memory") from None
        finally:
            if not answered:  # also when the caller went away: half an answer would be taken for the next one's
                await self._end()

    async def _child(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.wait_for(
                asyncio.create_subprocess_exec(
                    sys.executable, "-m", _MODULE, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=_environment()
                ),
                START_TIMEOUT.total_seconds(),
            )
            # The first answer says that the imports are done, so that they count against no template.
            async with asyncio.timeout(START_TIMEOUT.total_seconds()):
                await _exchange(self._process, request_to_frame(Request("", False, {}, False)))
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _exchange(process: Process, frame: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the child has no pipes")
    process.stdin.write(frame)
    await process.stdin.drain()
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(length)


def _environment() -> dict[str, str]:
    """No secrets of the daemon's: what is rendered there is foreign."""
    kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}
