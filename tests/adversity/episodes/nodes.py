"""A cluster of three NATS nodes that pause, die, lose their files and each other (row 12)."""

import asyncio
from pathlib import Path
from random import Random

from clarion_local.servers.nats import NatsServer
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.valkey import ValkeyServer
from clarion_testkit.faults.natscluster import NatsNodes
from tests.adversity.episodes.base import GENTLE, Episode
from tests.adversity.report import Report
from tests.adversity.trial import trial
from tests.adversity.world import Servers, mesh_around, started

_ROUNDS = 2
_LASTS_SECONDS = 3.0
_BETWEEN = 200


class ThreeNodes(Episode):
    name = "a node of three paused, killed, wiped, cut off"

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        random = Random(f"{seed} nodes")
        async with NatsNodes(folder / "nodes", proxied=True) as nodes:
            servers = Servers(PostgresServer(folder / "postgres"), nodes.nodes[0], ValkeyServer(folder / "valkey"))
            async with (
                started(servers, but=(nodes.nodes[0],)),
                mesh_around(servers, folder, nats_url=nodes.url(), stream_replicas=3) as world,
                trial(world, GENTLE, seed, report) as running,
            ):
                for _ in range(_ROUNDS):
                    for act in ("pause", "kill", "wipe", "partition"):
                        await running.accepts(_BETWEEN, 60)
                        await self._strike(nodes, random.choice(nodes.nodes), act)
                        running.struck(12, f"a node of three: {act}")
                        await running.recovered(f"a node of three: {act}")

    async def _strike(self, nodes: NatsNodes, node: NatsServer, act: str) -> None:
        match act:
            case "pause":
                await nodes.pause(node)
                await asyncio.sleep(_LASTS_SECONDS)
                nodes.resume(node)
            case "partition":
                nodes.partition(node)
                await asyncio.sleep(_LASTS_SECONDS)
                nodes.heal(node)
            case _:
                await (nodes.kill(node) if act == "kill" else nodes.wipe(node))
                await asyncio.sleep(_LASTS_SECONDS)
                await nodes.restart(node)
        await nodes.ready()
