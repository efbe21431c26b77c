"""All scenes of a run. One that goes wrong is told as a fault; the others go on."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from clarion_client import ClarionError
from clarion_local.demo.scenes import broadcasting, capping, digest, escalation, quiet
from clarion_local.demo.scenes.scene import Late, Stage, Told

SUBSCRIBERS = broadcasting.SUBSCRIBERS


async def play_night(stage: Stage) -> Told:
    """Quiet hours last up to a minute and a half, so this one goes on beside the others."""
    return await played(quiet.NAME, quiet.play(stage))


async def play_all(stage: Stage, subscribers: Sequence[str]) -> list[Told]:
    """Those that take seconds, all at once."""
    plays: dict[str, Callable[[Stage], Awaitable[Told]]] = {
        capping.NAME: capping.play,
        digest.NAME: digest.play,
        escalation.NAME: escalation.play,
        escalation.NOT_NEEDED: escalation.play_not_needed,
        broadcasting.NAME: partial(broadcasting.play, subscribers=subscribers),
    }
    return await asyncio.gather(*(played(name, play(stage)) for name, play in plays.items()))


async def played(name: str, playing: Awaitable[Told]) -> Told:
    """What a scene told, or that it went wrong."""
    try:
        return await playing
    except (ClarionError, Late, OSError) as error:
        fault = f"did not come to its end: {error}"
        return Told(name, fault, fault=fault)
