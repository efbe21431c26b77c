"""What may befall the files of a NATS server that does not run: gone, altered, cut short."""

import random
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from clarion_local.servers.nats import NatsServer

MESSAGES = "*.blk"
"""The files that hold messages of streams and entries of the consensus logs."""


class Corruption(Enum):
    """How a file is damaged."""

    BIT_FLIP = "bitflip"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Damage:
    """What was done: one bit of the byte at `offset` flipped, or everything from `offset` on cut off."""

    path: Path
    kind: Corruption
    offset: int


def wipe_store(server: NatsServer) -> None:
    """Remove everything the server kept. Raises RuntimeError while it runs."""
    _refuse_while_running(server)
    shutil.rmtree(server.store, ignore_errors=True)


def corrupt_store(server: NatsServer, seed: int, kind: Corruption, *, files: str = MESSAGES) -> Damage:
    """Damage one file whose name matches `files`; the same seed does the same to the same store.

    Raises RuntimeError while the server runs, FileNotFoundError when no file with content matches.
    """
    _refuse_while_running(server)
    choice = random.Random(seed)
    found = sorted(path for path in server.store.rglob(files) if path.is_file() and path.stat().st_size)
    if not found:
        raise FileNotFoundError(f"no file {files} with content in {server.store}")
    path = choice.choice(found)
    offset = choice.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        if kind is Corruption.TRUNCATE:
            file.truncate(offset)
        else:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1 << choice.randrange(8)]))
    return Damage(path, kind, offset)


def _refuse_while_running(server: NatsServer) -> None:
    try:
        running = server.process.returncode is None
    except RuntimeError:
        # Never started.
        return
    if running:
        raise RuntimeError("the server still runs and would write over it")
