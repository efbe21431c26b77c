"""The first chunk of the broadcast that runs, in a process of its own, which a crash point may end.

Argument: database URL.
"""

import asyncio
import sys

from clarion_ledger import broadcasts
from clarion_ledger.db import pool

from .broadcast_samples import chunk_of, claimed, refs


async def main(url: str) -> None:
    async with pool(url, size=1, application="crash") as connections:
        lane_id: int = await connections.fetchval("SELECT min(lane_id) FROM ledger.lane")
        turn = await claimed(connections)
        await broadcasts.plan_chunk(connections, turn, turn.cursor, chunk_of(turn, refs(8)[:3], lane_id, last=False))


asyncio.run(main(*sys.argv[1:]))
