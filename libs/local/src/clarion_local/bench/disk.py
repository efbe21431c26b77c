"""How long the disk takes to keep what it is given: nothing durable is faster, and nobody who waits for it."""

import os
import time
from pathlib import Path

from clarion_local.bench.samples import Spread, spread

BLOCK_BYTES = 8 << 10
_BLOCKS = 1_024
_PAUSE_SECONDS = 0.005


def syncs(folder: Path, count: int) -> Spread:
    """Milliseconds of so many writes of 8 KiB, each with its fdatasync, 5 ms apart, into a file that has its size already: as
    a log is written. Blocks. Raises OSError."""
    path, block = folder / "disk", os.urandom(BLOCK_BYTES)
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for place in range(_BLOCKS):
            os.pwrite(file, block, place * BLOCK_BYTES)
        os.fsync(file)
        return spread([_sync(file, block, number) for number in range(count)])
    finally:
        os.close(file)
        path.unlink()


def _sync(file: int, block: bytes, number: int) -> float:
    time.sleep(_PAUSE_SECONDS)
    began = time.perf_counter()
    os.pwrite(file, block, number % _BLOCKS * BLOCK_BYTES)
    os.fdatasync(file)
    return (time.perf_counter() - began) * 1_000.0
