"""Filesystems mounted for a test, and unmounted whatever happens to it."""

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from clarion_local.process import CommandFailed, run_to_end
from clarion_testkit.faults import unmounter

_LIMIT: Final = timedelta(seconds=30)
_GUARD_SECONDS: Final = 10.0
# capabilities(7); bit of the effective set in proc(5)'s status.
_CAP_SYS_ADMIN: Final = 21


def why_not_mount(*programs: str) -> str | None:
    """Why this process cannot mount filesystems with these programs; None if it can."""
    if not sys.platform.startswith("linux"):
        return f"mounts of {sys.platform} are not supported"
    if not _may_mount():
        return "mounting needs root (CAP_SYS_ADMIN)"
    missing = [name for name in ("mount", "umount", *programs) if _found(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else None


def program(name: str) -> Path:
    """Where a program of the system lies, also one that only root has on its path. Raises FileNotFoundError."""
    found = _found(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return Path(found)


class Mount:
    """A filesystem that can be mounted on `place` (made), again and again."""

    def __init__(self, place: Path, arguments: Sequence[str | Path]) -> None:
        """`arguments` are those of mount(8) before the place."""
        self.place = place
        self._arguments = arguments
        self._guard: _Guard | None = None

    async def mount(self) -> None:
        """Raises CommandFailed, OSError."""
        self.place.mkdir(parents=True, exist_ok=True)
        if self._guard is None:
            self._guard = await _Guard.start(self.place)
        await run_to_end("mount", [program("mount"), *self._arguments, self.place], limit=_LIMIT)

    async def unmount(self) -> None:
        """Raises CommandFailed while somebody works there."""
        await run_to_end("umount", [program("umount"), self.place], limit=_LIMIT)

    async def close(self) -> None:
        """Unmount if mounted, and end the guard. Raises CommandFailed when somebody still works there: then the place is
        free, and the filesystem ends with them."""
        busy: CommandFailed | None = None
        if self.place.is_mount():
            try:
                await self.unmount()
            except CommandFailed as error:
                busy = error
        if self._guard is not None:
            # It unmounts what is busy.
            await self._guard.end()
            self._guard = None
        if busy is not None:
            raise busy


class _Guard:
    """A process that unmounts a place when it is told to, or when we are gone: nothing but a pipe ties it to us."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    @classmethod
    async def start(cls, place: Path) -> Self:
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", unmounter.__file__, program("umount"), place),
                stdin=read_end,
                start_new_session=True,
            )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return cls(process, write_end)

    async def end(self) -> None:
        os.close(self._pipe)
        async with asyncio.timeout(_GUARD_SECONDS):
            await self._process.wait()


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin")))
