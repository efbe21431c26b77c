"""One step of the ledger in a process of its own, which a crash point may end.

Arguments: database URL, step, app id, category id, and the ids the step works on.
"""

import asyncio
import sys
from dataclasses import dataclass
from uuid import UUID

from clarion_ledger.accept import accept
from clarion_ledger.db import Pool, pool
from clarion_ledger.digests import claim_due
from clarion_ledger.dispatching import claim, record
from clarion_ledger.planning import load, plan

from .ledger_samples import LEASE, close_digest, item, plan_of, sent


@dataclass(frozen=True, slots=True)
class Shop:
    """The app, as far as a step needs it."""

    app_id: int
    categories: dict[str, int]


async def step(connections: Pool, name: str, shop: Shop, ids: list[UUID]) -> None:
    if name == "accept":
        await accept(connections, [item(shop, f"e{n}") for n in range(3)])
    elif name == "plan":
        lane_id: int = await connections.fetchval("SELECT min(lane_id) FROM ledger.lane")
        await plan(connections, [plan_of(source, lane_id, suppressed=1) for source in await load(connections, ids)])
    elif name == "digest":
        for window in await claim_due(connections, 10, LEASE):
            await close_digest(connections, window)
    else:
        claims = await claim(connections, ids, LEASE)
        if name == "record":
            await record(connections, [sent(claimed) for claimed in claims])


async def main(url: str, name: str, app_id: str, category_id: str, *ids: str) -> None:
    async with pool(url, size=1, application="crash") as connections:
        shop = Shop(int(app_id), {"transactional": int(category_id)})
        await step(connections, name, shop, [UUID(id_) for id_ in ids])


asyncio.run(main(*sys.argv[1:]))
