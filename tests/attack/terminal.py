"""Waits until deliveries are over: nobody is told when."""

import asyncio
from collections.abc import Mapping, Sequence

from clarion.notification.v1.notification_service_pb2 import Delivery
from clarion_client import AsyncClient
from clarion_kit.vocabulary import DeliveryState

_LOOK_AGAIN_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0


async def until_ended(
    client: AsyncClient, notification_ids: Sequence[str], *, planned: int = 1
) -> Mapping[str, Sequence[Delivery]]:
    """Deliveries by notification, all of them in a state that lasts; each has at least `planned`. Raises TimeoutError."""
    ended: dict[str, Sequence[Delivery]] = {}
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while len(ended) < len(set(notification_ids)):
            for one in notification_ids:
                if one in ended:
                    continue
                found = (await client.get(one)).deliveries
                if len(found) >= planned and all(DeliveryState(delivery.state).terminal for delivery in found):
                    ended[one] = found
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    return ended
