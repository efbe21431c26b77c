"""The generator seen from the benchmark: started, given jobs, ended."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from clarion_local.bench.generator.jobs import Done, Job, Target, done_of, to_line
from clarion_local.process import tail

_END_SECONDS = 5.0


class GeneratorFailed(Exception):
    """The generator ended amid a job, or did not finish it in time; the message holds the end of its log."""


class Generator:
    """A running generator; one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process, self._log = process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    @staticmethod
    @asynccontextmanager
    async def start(target: Target, log: Path) -> AsyncIterator["Generator"]:
        """Ready for jobs on entry; it ends with its standard input, so it never outlives us. Raises OSError."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "clarion_local.bench.generator",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        generator = Generator(process, log)
        try:
            generator._write(to_line(target))
            yield generator
        finally:
            await generator._end()

    async def run(self, job: Job, within: float) -> Done:
        """Do a job and give what came of it; `within` seconds. Raises GeneratorFailed."""
        self._write(to_line(job))
        reader = self._process.stdout
        if reader is None:
            raise GeneratorFailed("the generator has no output")
        try:
            async with asyncio.timeout(within):
                line = await reader.readline()
        except TimeoutError:
            raise GeneratorFailed(f"{job.run} was not done within {within:.0f} s\n{tail(self._log)}") from None
        if not line:
            raise GeneratorFailed(f"the generator ended amid {job.run}\n{tail(self._log)}")
        return done_of(line)

    def _write(self, line: bytes) -> None:
        if self._process.stdin is None:
            raise GeneratorFailed("the generator has no input")
        self._process.stdin.write(line)

    async def _end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
