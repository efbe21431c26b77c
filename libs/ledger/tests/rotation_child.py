"""A rotation of keys in a process of its own, which a crash point may end.

Arguments: database URL, key-encryption key file, step (wrap, seal) and app id.
"""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from clarion_ledger import rekeying
from clarion_ledger.db import pool
from clarion_ledger.keks import load_wrapper

NOW = timedelta(0)


def told(what: str, count: int) -> None:
    """Nobody listens."""


async def main(url: str, kek_file: str, step: str, app_id: str) -> None:
    wrapper = load_wrapper(Path(kek_file))
    async with pool(url, size=2, application="rotation") as connections:
        if step == "wrap":
            await rekeying.rewrap(connections, wrapper, told, chunk=2)
        else:
            await rekeying.rotate(connections, wrapper, int(app_id), told, announced=NOW, settled=NOW, chunk=2)


asyncio.run(main(*sys.argv[1:]))
