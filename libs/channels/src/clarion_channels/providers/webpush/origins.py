"""HTTP clients per push service: few, shared, each pinned to an address that was checked."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta

from clarion_channels.http import HttpPool, NotSent, PoolOptions
from clarion_channels.providers.webpush.endpoint import ForbiddenEndpoint, Origin
from clarion_channels.public_hosts import ForbiddenUrl, Resolve, Target, Unresolved, public_address

_AT_ONCE = timedelta(0)


@dataclass(eq=False, slots=True)
class _Entry:
    pool: HttpPool
    expires_at: float
    users: int = 0


class Lease:
    """The pool of one push service, kept open while the block runs."""

    def __init__(self, pools: "OriginPools", entry: _Entry) -> None:
        self._pools = pools
        self._entry = entry

    async def __aenter__(self) -> HttpPool:
        return self._entry.pool

    async def __aexit__(self, *_: object) -> None:
        await self._pools.give_back(self._entry)


class OriginPools:
    """At most `max_origins` pools, the least recently used is closed first.

    A host is resolved once per `resolve_again_seconds`, every address of it is checked, and the clients connect to the
    address that was checked: a name that is rebound in between leads nowhere.
    """

    def __init__(
        self,
        options: PoolOptions,
        *,
        max_origins: int,
        resolve_again_seconds: float,
        allow_private_addresses: bool,
        resolve: Resolve | None = None,
    ) -> None:
        self._options = options
        self._max_origins = max_origins
        self._resolve_again_seconds = resolve_again_seconds
        self._allow_private_addresses = allow_private_addresses
        self._look_up = resolve
        self._entries: OrderedDict[Origin, _Entry] = OrderedDict()
        self._retired: set[_Entry] = set()
        self._opening: dict[Origin, asyncio.Task[None]] = {}

    async def lease(self, origin: Origin) -> Lease:
        """A host that cannot be resolved raises `NotSent`, an address that is not public `ForbiddenEndpoint`."""
        while (entry := self._fresh(origin)) is None:
            await self._opened(origin)
        entry.users += 1
        self._entries.move_to_end(origin)
        return Lease(self, entry)

    async def give_back(self, entry: _Entry) -> None:
        entry.users -= 1
        if entry.users == 0 and entry in self._retired:
            self._retired.discard(entry)
            await entry.pool.close(_AT_ONCE)

    async def close(self, grace: timedelta) -> None:
        """Let open requests finish within `grace`, then free every connection."""
        for task in self._opening.values():
            task.cancel()
        entries = [*self._entries.values(), *self._retired]
        self._entries.clear()
        self._retired.clear()
        await asyncio.gather(*[entry.pool.close(grace) for entry in entries])

    def _fresh(self, origin: Origin) -> _Entry | None:
        entry = self._entries.get(origin)
        return entry if entry is not None and entry.expires_at > asyncio.get_running_loop().time() else None

    async def _opened(self, origin: Origin) -> None:
        # One look-up for all who wait, which goes on when one of them is cancelled.
        task = self._opening.get(origin)
        if task is None:
            task = self._opening[origin] = asyncio.get_running_loop().create_task(self._open(origin))
            task.add_done_callback(lambda done: self._forget(origin, done))
        await asyncio.wait([task])
        task.result()

    def _forget(self, origin: Origin, done: asyncio.Task[None]) -> None:
        del self._opening[origin]
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more

    async def _open(self, origin: Origin) -> None:
        loop = asyncio.get_running_loop()
        address = await self._resolve(origin)
        pool = HttpPool(replace(self._options, pinned=(origin.host, address, origin.port)))
        entry = _Entry(pool, loop.time() + self._resolve_again_seconds)
        old = self._entries.pop(origin, None)
        if old is not None:
            await self._retire(old)
        while len(self._entries) >= self._max_origins:
            await self._retire(self._entries.popitem(last=False)[1])
        self._entries[origin] = entry

    async def _retire(self, entry: _Entry) -> None:
        if entry.users:
            self._retired.add(entry)
        else:
            await entry.pool.close(_AT_ONCE)

    async def _resolve(self, origin: Origin) -> str:
        try:
            return await public_address(
                Target(origin.host, origin.port, tls=True),
                timeout=self._options.connect_timeout,
                private=self._allow_private_addresses,
                resolve=self._look_up,
            )
        except Unresolved as error:
            raise NotSent("local:resolve", "the host name of the push service cannot be resolved") from error
        except ForbiddenUrl as error:
            raise ForbiddenEndpoint("the host name leads to an address that is not public") from error
