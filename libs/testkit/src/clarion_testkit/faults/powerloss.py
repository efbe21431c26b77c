"""A disk that loses its power: what was not forced to it is gone."""

import asyncio
import fcntl
import os
import struct
from datetime import timedelta
from pathlib import Path
from typing import Final

from clarion_local.process import Process, becomes_true, run_to_end
from clarion_testkit.faults.mounts import Mount, program, why_not_mount
from clarion_testkit.faults.signals import Signals
from clarion_testkit.faults.tool import Tool

_DEFAULT_BYTES: Final = 2 * 1024**3
_LIMIT: Final = timedelta(seconds=30)
_KILLED_SECONDS: Final = 5.0
# include/uapi/linux/loop.h and fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN, and the flag that drops the journal still in memory.
_LOOP_CTL_GET_FREE: Final = 0x4C82
_EXT4_IOC_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = struct.pack("I", 2)


def unavailable_reason() -> str | None:
    """Why power cannot be lost on this machine, to skip a test by name; None if it can."""
    reason = why_not_mount("mkfs.ext4", "sync")
    if reason is not None:
        return reason
    try:
        with open("/dev/loop-control", "rb") as control:
            fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
    except OSError as error:
        return f"no loop device can be had: {error.strerror}"
    return None


class LossyDisk(Tool):
    """An ext4 of its own in a file below `folder`; put a server's data on it, its passwords and logs elsewhere.

    Milder than the worst disk in one point: what was written to the device stays in any order, flushed or not.
    """

    def __init__(self, folder: Path, *, size_bytes: int = _DEFAULT_BYTES) -> None:
        """The file is sparse: `size_bytes` are taken only as they are written."""
        self._image = folder.absolute() / "image"
        self._size_bytes = size_bytes
        self._mount = Mount(folder.absolute() / "disk", ["--types", "ext4", "--options", "loop,noatime", self._image])

    @property
    def place(self) -> Path:
        """Its root directory."""
        return self._mount.place

    async def start(self) -> None:
        """Make and mount it. Raises CommandFailed, OSError (see `unavailable_reason`)."""
        self._image.parent.mkdir(parents=True, exist_ok=True)
        with self._image.open("xb") as image:
            image.truncate(self._size_bytes)
        # Nothing may be initialised in the background: it would write at times of its own.
        eager = "lazy_itable_init=0,lazy_journal_init=0"
        await run_to_end("mkfs", [program("mkfs.ext4"), "-q", "-F", "-m", "0", "-E", eager, self._image], limit=_LIMIT)
        await self._mount.mount()

    async def stop(self) -> None:
        """Unmount, let the loop device go, remove the file. Raises CommandFailed while a server still runs on it."""
        try:
            await self._mount.close()
        finally:
            self._image.unlink(missing_ok=True)

    async def sync(self) -> None:
        """Force everything written so far to the disk: what a test prepared must not be part of the loss."""
        await run_to_end("sync", [program("sync"), "--file-system", self.place], limit=_LIMIT)

    async def lose_power(self, *servers: Process) -> None:
        """Kill the servers on this disk (SIGKILL, with their children) and drop what the kernel had not yet written.

        Returns with the disk mounted again, its journal replayed. Raises CommandFailed when another process still
        works on it, NotOurs, TimeoutError, OSError.
        """
        async with Signals() as signals:
            for server in servers:
                if server.returncode is None:
                    await signals.kill(server.pid, tree=True)
        async with asyncio.timeout(_KILLED_SECONDS):
            for server in servers:
                await server.wait()
        self._drop_unwritten()
        await self._mount.unmount()
        if not await becomes_true(lambda: not _is_attached(self._image), _LIMIT):
            raise TimeoutError("the loop device is not let go")
        await self._mount.mount()

    def _drop_unwritten(self) -> None:
        root = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(root)


def _is_attached(image: Path) -> bool:
    """Whether a loop device still holds the file: a second one over it would not see what the first writes last."""
    return any(_backing(device) == str(image) for device in Path("/sys/block").glob("loop*/loop/backing_file"))


def _backing(device: Path) -> str:
    try:
        return device.read_text().strip()
    except OSError:
        # Detached between the listing and the look.
        return ""
