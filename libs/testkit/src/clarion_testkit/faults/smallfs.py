"""A filesystem that is soon full."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Final

from clarion_testkit.faults.mounts import Mount, why_not_mount
from clarion_testkit.faults.tool import Tool

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def unavailable_reason() -> str | None:
    """Why there can be no small filesystem on this machine, to skip a test by name; None if there can."""
    return why_not_mount()


class SmallFilesystem(Tool):
    """`size_bytes` of memory (rounded to pages), mounted below `folder`."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        """Raises ValueError below one page, which tmpfs would take for no limit at all."""
        if size_bytes < _PAGE_BYTES:
            raise ValueError(f"a filesystem has at least {_PAGE_BYTES} bytes")
        options = f"size={size_bytes},mode=0755"
        self._mount = Mount(folder.absolute() / "small", ["--types", "tmpfs", "--options", options, "tmpfs"])

    @property
    def place(self) -> Path:
        """Its root directory."""
        return self._mount.place

    @property
    def free_bytes(self) -> int:
        status = os.statvfs(self.place)
        return status.f_bavail * status.f_frsize

    async def start(self) -> None:
        """Mount it. Raises CommandFailed, OSError (see `unavailable_reason`)."""
        await self._mount.mount()

    async def stop(self) -> None:
        """Unmount it. Raises CommandFailed while a server still runs on it."""
        await self._mount.close()

    async def fill(self, leave_bytes: int = 0) -> None:
        """Take all space but `leave_bytes` (rounded down to pages), also what others release meanwhile."""
        await asyncio.to_thread(self._fill, leave_bytes)

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.place / ".ballast"

    def _fill(self, leave_bytes: int) -> None:
        with self._ballast.open("ab") as ballast:
            while (spare := self.free_bytes - leave_bytes) >= _PAGE_BYTES:
                end = os.fstat(ballast.fileno()).st_size
                try:
                    os.posix_fallocate(ballast.fileno(), end, spare - spare % _PAGE_BYTES)
                except OSError as error:
                    # Somebody else was faster; look again at what is left.
                    if error.errno != errno.ENOSPC:
                        raise
