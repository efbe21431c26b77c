"""Folders in memory: servers in them keep their settings, fsync among them, and wait for no disk."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 4 << 30


@contextmanager
def memory_folder(name: str) -> Iterator[Path]:
    """A folder that is gone afterwards: in shared memory where there is room for it, else where temporary files lie."""
    with tempfile.TemporaryDirectory(prefix=f"clarion-{name}-", dir=_place(), ignore_cleanup_errors=True) as made:
        yield Path(made)


def _place() -> Path | None:
    if not os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        return None
    stat = os.statvfs(_SHARED_MEMORY)
    return _SHARED_MEMORY if stat.f_bavail * stat.f_frsize >= _ROOM_BYTES else None
