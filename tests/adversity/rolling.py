"""Rolling restarts under load: every replica of every daemon, again and again, and nobody notices."""

import asyncio

from .world import STOP_GRACE, World


async def restart_all(world: World) -> list[str]:
    """One round: the first replicas of all daemons, then the second ones. Gives those that did not end by themselves.

    A replica is taken down only while its siblings serve, as a rollout with maxUnavailable 1 does.
    """
    fleet = world.fleet
    killed: list[str] = []

    async def restart(name: str) -> None:
        if await fleet.stop(name, STOP_GRACE) != 0:
            killed.append(name)
        await fleet.start(name)

    for number in ("1", "2"):
        async with asyncio.TaskGroup() as group:
            for name in fleet.names():
                if name.endswith(f"/{number}"):
                    group.create_task(restart(name))
    return killed
