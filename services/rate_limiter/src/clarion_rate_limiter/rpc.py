"""The RateLimitService: proto ↔ deciding."""

from collections.abc import Iterable, Sequence

import grpc

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import RateLimitServiceServicer
from clarion_kit.validate import Faults
from clarion_rate_limiter.deciding import Decider
from clarion_rate_limiter.domain import Algorithm, Grant, Item, Limit

_Context = grpc.aio.ServicerContext[object, object]

MAX_ITEMS = 1_000
MAX_LIMITS = 10
MAX_KEY_BYTES = 128
MAX_LIMIT = 1_000_000
MIN_WINDOW_US = 1_000_000
MAX_WINDOW_US = 32 * 86_400 * 1_000_000
ID_BYTES = 16
_ALGORITHMS = {int(algorithm): algorithm for algorithm in Algorithm}


class RateLimitRpc(RateLimitServiceServicer):
    """Caps for the planner, quotas for the gateway, pacing for dispatchers."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    async def Acquire(self, request: pb.AcquireRequest, context: _Context) -> pb.AcquireResponse:
        return pb.AcquireResponse(grants=_grants(await self._decider.acquire(_items(request.items))))

    async def Peek(self, request: pb.PeekRequest, context: _Context) -> pb.PeekResponse:
        return pb.PeekResponse(grants=_grants(await self._decider.peek(_items(request.items))))


def _items(items: Sequence[pb.Item]) -> list[Item]:
    """Raises DomainError INVALID_FIELD."""
    faults = Faults()
    made: list[Item] = []
    if faults.require("items", 1 <= len(items) <= MAX_ITEMS, f"1-{MAX_ITEMS} items are required"):
        for index, item in enumerate(items):
            limits = tuple(_limit(limit) for limit in item.limits)
            fault = _fault(item, limits)
            if fault:
                faults.add(f"items[{index}]{fault[0]}", fault[1])
            made.append(Item(item.app_id, item.id, tuple(limit for limit in limits if limit)))
    faults.raise_if_any()
    return made


def _limit(limit: pb.Limit) -> Limit | None:
    window_us = limit.window.seconds * 1_000_000 + limit.window.nanos // 1_000
    algorithm = _ALGORITHMS.get(limit.algorithm)
    if (
        algorithm is None
        or not 1 <= limit.limit <= MAX_LIMIT
        or not MIN_WINDOW_US <= window_us <= MAX_WINDOW_US
        or limit.burst > MAX_LIMIT
        or not 1 <= len(limit.key.encode()) <= MAX_KEY_BYTES
    ):
        return None
    return Limit(limit.key, algorithm, limit.limit, window_us, limit.burst or limit.limit)


def _fault(item: pb.Item, limits: Sequence[Limit | None]) -> tuple[str, str] | None:
    """What is wrong with an item: the end of a field's path, and its rule."""
    if item.app_id < 1:
        return ".app_id", "required"
    if not 1 <= len(limits) <= MAX_LIMITS:
        return ".limits", f"1-{MAX_LIMITS} limits are required"
    for index, limit in enumerate(limits):
        if limit is None:
            return (
                f".limits[{index}]",
                f"needs a key of 1-{MAX_KEY_BYTES} bytes, an algorithm, a limit of 1-{MAX_LIMIT}, a window of 1 s - 32 d",
            )
    if len(limits) > 1 and len({limit.name for limit in limits if limit}) < len(limits):
        return ".limits", "two limits are the same"
    if len(item.id) != ID_BYTES and any(limit.algorithm is Algorithm.WINDOW for limit in limits if limit):
        return ".id", f"{ID_BYTES} bytes are required"
    return None


def _grants(grants: Iterable[Grant]) -> Iterable[pb.Grant]:
    for grant in grants:
        made = pb.Grant(
            allowed=grant.allowed,
            remaining=grant.remaining,
            unchecked=grant.unchecked,
            remaining_each=grant.lefts,
        )
        if grant.closed_limit is not None:
            made.closed_limit = grant.closed_limit
            made.retry_after.FromMicroseconds(grant.retry_after_us)
        yield made
