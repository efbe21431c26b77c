"""Steps of the roller in a process of its own, which a crash point may end. Argument: database URL."""

import asyncio
import sys

from clarion_ledger.db import pool
from clarion_tracker.adapters.rollup_table import RollupTable


async def main(url: str) -> None:
    async with pool(url, size=1, application="crash") as connections:
        table = RollupTable(connections)
        while (await table.step(5)).more:
            pass


asyncio.run(main(*sys.argv[1:]))
