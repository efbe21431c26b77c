"""A broadcast to a topic's subscribers: paused on its way, and resumed."""

from collections.abc import Callable, Sequence

from clarion.broadcast.v1.broadcast_service_pb2 import BroadcastState, GetBroadcastResponse
from clarion_client import AsyncClient, Channel, Content, Push
from clarion_client.calls.broadcasts import broadcast
from clarion_local.demo.scenes.scene import Stage, Told, until
from clarion_local.demo.shop import TRANSACTIONAL

NAME = "broadcast"
SUBSCRIBERS = 160
_PACE_PER_SECOND = 40
"""Some seconds for all of them: time to pause it, also where the machine is busy."""
_CONTENT = Content(push=Push(title="New arrivals", body="See what came in this morning."))


async def play(stage: Stage, subscribers: Sequence[str]) -> Told:
    """Raises ClarionError, Late."""
    topic = f"new-arrivals-{stage.run}"
    await stage.client.topics.subscribe(topic, subscribers)
    started = await stage.client.broadcasts.start(
        broadcast(
            event_id=f"{stage.run}:broadcast",
            topic=topic,
            category=TRANSACTIONAL,
            content=_CONTENT,
            channels=[Channel.IOS, Channel.ANDROID, Channel.WEB],
            pace_per_second=min(_PACE_PER_SECOND, max(1, len(subscribers) // 4)),
        )
    )
    id_ = started.broadcast_id
    await until(lambda: _look(stage.client, id_, lambda seen: seen.planned > 0))
    at_pause = (await stage.client.broadcasts.pause(id_)).broadcast.planned
    paused = await stage.client.broadcasts.get(id_)
    await stage.client.broadcasts.resume(id_)
    whole = await until(lambda: _look(stage.client, id_, _over))
    held = paused.planned == at_pause < len(subscribers)
    return Told(
        NAME,
        f"a broadcast to the {len(subscribers)} subscribers of a topic: paused after {at_pause}, resumed, all "
        f"{whole.planned} planned; {whole.outcomes.sent} deliveries sent",
        int(whole.planned),
        {"subscribers": len(subscribers), "paused_after": int(at_pause), "planned": int(whole.planned)},
        "" if held and whole.planned == len(subscribers) else f"paused at {at_pause}, planned {whole.planned}",
    )


async def _look(
    client: AsyncClient, id_: str, enough: Callable[[GetBroadcastResponse], bool]
) -> GetBroadcastResponse | None:
    seen = await client.broadcasts.get(id_)
    return seen if enough(seen) else None


def _over(seen: GetBroadcastResponse) -> bool:
    return seen.broadcast.state == BroadcastState.BROADCAST_STATE_PLANNED and not seen.outcomes.in_flight
