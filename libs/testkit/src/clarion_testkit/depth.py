"""How many messages wait on a lane, once the server has finished counting."""

import asyncio
from collections.abc import Sequence

from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Lane

_BETWEEN_LOOKS_SECONDS = 0.05
_WITHIN_SECONDS = 5.0


async def waiting(bus: JetStreamBus, lanes: Sequence[Lane]) -> list[int]:
    """Messages waiting on each lane, when two looks agree: NATS counts what a consumer has pending a moment after it
    confirmed the message. Raises TimeoutError while the figures keep changing."""
    async with asyncio.timeout(_WITHIN_SECONDS):
        before = [(await bus.depth(lane)).waiting for lane in lanes]
        while True:
            await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
            now = [(await bus.depth(lane)).waiting for lane in lanes]
            if now == before:
                return now
            before = now
