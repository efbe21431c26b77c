"""Where the CPU goes: py-spy on every daemon while the mix is sent. Sampling costs CPU, so nothing else is measured here."""

import asyncio
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from clarion_local.bench import records
from clarion_local.bench.context import Context
from clarion_local.bench.world import World

_RATE = 50
_TOP = 25
_LINGER_SECONDS = 30.0


async def profile(context: Context, world: World) -> dict[str, object]:
    """Top functions of each daemon; folded stacks for flame graphs lie in `profiles/`. Empty where py-spy is not installed."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        context.say("py-spy is not installed: no profiles")
        return {}
    folder = context.folder / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    since = await records.mark(world)
    before = await asyncio.to_thread(world.room.accepted)
    async with AsyncExitStack() as stack:
        for name, pid in world.stack.daemons.pids().items():
            await stack.enter_async_context(_recorded(program, pid, _path(folder, name)))
        await context.load(world, "profile", "closed", count=context.sizes.profile, window=context.sizes.window)
        await context.until_taken(world, context.sizes.profile, before)
    await context.close(world, "profile", since)
    return {name: top(_read(_path(folder, name))) for name in world.stack.daemons.pids()}


def top(folded: str, most: int = _TOP) -> list[dict[str, object]]:
    """Functions by their own share of the samples, from folded stacks ("a;b;c count"), with the share in which they stand
    anywhere."""
    own: Counter[str] = Counter()
    anywhere: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and count.isdigit():
            frames = stack.split(";")
            own[frames[-1]] += int(count)
            anywhere.update(dict.fromkeys(frames, int(count)))
    samples = sum(own.values())
    return [
        {"function": name, "own": round(count / samples, 3), "total": round(anywhere[name] / samples, 3)}
        for name, count in own.most_common(most)
    ]


@asynccontextmanager
async def _recorded(program: str, pid: int, path: Path) -> AsyncIterator[None]:
    """Folded stacks of what a process does while this is entered; no file where it could not be looked into."""
    process = await asyncio.create_subprocess_exec(
        program,
        "record",
        *("--pid", str(pid), "--format", "raw", "--rate", str(_RATE), "--duration", "unlimited"),
        *("--output", str(path), "--nonblocking"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            # It writes what it has seen so far.
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '-')}.folded"


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
