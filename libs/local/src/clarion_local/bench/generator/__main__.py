"""``python -m clarion_local.bench.generator``: a target on the first line of stdin, a job on each further one; an answer a
line on stdout. Ends with its stdin."""

import asyncio
import sys
from pathlib import Path

import uvloop

from clarion_local.bench.generator.caller import Caller
from clarion_local.bench.generator.jobs import job_of, target_of, to_line
from clarion_local.bench.generator.modes import Load
from clarion_local.demo.practice_room import PracticeRoom
from clarion_local.practice import Practice

_LINE_BYTES = 1 << 20


async def serve() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    target = target_of(await lines.readline())
    room = PracticeRoom(Practice.read(Path(target.sandbox), target.ca_file))
    async with Caller.open(target) as caller:
        while line := await lines.readline():
            await caller.renew()
            done = await Load(job_of(line), caller, room.accepted).run()
            sys.stdout.buffer.write(to_line(done))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(serve())
