"""The lanes of one channel: a provider for each account of each app, made when first needed, replaced when changed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import entry_points
from math import ceil
from time import monotonic

from pydantic import ValidationError

from clarion_channels.engine.capacity import URGENT_SHARE
from clarion_channels.engine.policies import LanePolicy, Policies
from clarion_channels.engine.protection import Protection
from clarion_channels.port import ForLane, Provider, ProviderFactory, ProviderUnavailable, Receipts
from clarion_kit.sealing import Unsealable
from clarion_kit.vocabulary import Channel, Priority, StopReason
from clarion_ledger.config import ConfigCache, LaneConfig
from clarion_ledger.keys import KeyRing

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "clarion.providers"
PROBE_TIMEOUT_SECONDS = 10.0
UNUSABLE_FOR_SECONDS = 1.0
BULK_SHARE = 0.5
"""How much of its limit bulk fills."""
BULK_CALLS = 4
"""Batches of bulk that its provider has at once."""
_BULK_BATCHES = 5
"""Batches of bulk that would fill what a provider can have open: one more than it gets, so that others find some free."""


class LaneUnusable(Exception):
    """No provider can be made for this lane; the text says why, without secrets. `app_id` None where no app has it."""

    def __init__(self, why: str, app_id: int | None = None) -> None:
        super().__init__(why)
        self.app_id = app_id


class LaneUnknown(LaneUnusable):
    """There is no such account, or it serves another channel."""


class LaneDeleted(LaneUnknown):
    """The account was deleted: what it had is routed again."""


class Lane:
    """A provider account at work. `in_flight`: deliveries it was given and has not answered, `bulk_in_flight` those of them
    that are bulk; `stop`: why it gets none."""

    def __init__(self, config: LaneConfig, provider: Provider, protection: Protection, stop: StopReason | None) -> None:
        self.config = config
        self.provider = provider
        self.protection = protection
        self.in_flight = 0
        self.bulk_in_flight = 0
        self.stop = stop
        self.outcomes: Counter[str] = Counter()
        self.bulk_turns = asyncio.Semaphore(BULK_CALLS)
        self._idle = asyncio.Event()
        self._idle.set()

    def batch_size(self, *, bulk: bool) -> int:
        """Messages that one call gets. Those of bulk, `BULK_CALLS` at once, leave a fifth of the provider to others."""
        most = self.provider.max_batch
        return min(most, max(1, self.provider.max_in_flight // _BULK_BATCHES)) if bulk else most

    def has_room(self, priority: Priority) -> bool:
        """Whether it takes one more now: a fifth of its limit is for urgent deliveries alone, and bulk fills half of it."""
        limit = self.protection.limit
        if priority is Priority.URGENT:
            return self.in_flight < limit
        if priority is Priority.BULK and self.bulk_in_flight >= max(1, int(limit * BULK_SHARE)):
            return False
        return self.in_flight < max(1, limit - ceil(limit * URGENT_SHARE))

    def enter(self, priority: Priority) -> None:
        self.in_flight += 1
        self.bulk_in_flight += priority is Priority.BULK
        self._idle.clear()

    def leave(self, priority: Priority) -> None:
        self.in_flight -= 1
        self.bulk_in_flight -= priority is Priority.BULK
        if self.in_flight == 0:
            self._idle.set()

    async def retire(self) -> None:
        """Close the provider once it has answered for everything it was given."""
        await self._idle.wait()
        await self.provider.close()

    async def probe(self) -> None:
        """Raise ProviderUnavailable or TimeoutError unless a connection with its credentials could be made now."""
        await asyncio.wait_for(self.provider.probe(), PROBE_TIMEOUT_SECONDS)


def provider_factories(overrides: Mapping[str, ProviderFactory] | None = None) -> dict[str, ProviderFactory]:
    """Provider plug-ins by kind: `overrides` and every installed one. One without its libraries, or that is broken, is left
    out and logged."""
    found = dict(overrides or {})
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in found:
            continue
        try:
            found[entry.name] = entry.load()()
        except ImportError as missing:
            log.debug("provider %s is not installed here: %s", entry.name, missing)
        except Exception:  # a plug-in of somebody else's must not take every other one with it
            log.exception("provider %s cannot be loaded", entry.name)
    return found


class Lanes:
    """Lanes by id. A changed account gets a new provider; the old one finishes what it holds."""

    def __init__(
        self,
        channel: Channel,
        config: ConfigCache,
        keys: KeyRing,
        factories: Mapping[str, ProviderFactory],
        receipts: Callable[[LaneConfig], Receipts],
        policies: Policies,
        *,
        longest_timeout: timedelta,
        most_open: int,
    ) -> None:
        """`most_open`: messages that one lane may hold, from claim to record."""
        self._channel = channel
        self._config = config
        self._keys = keys
        self._factories = factories
        self._receipts = receipts
        self._policies = policies
        self._longest_timeout = longest_timeout
        self._most_open = most_open
        self.stopped: dict[int, StopReason] = {}
        self._lanes: dict[int, Lane] = {}
        self._making = asyncio.Lock()
        self._unusable: dict[int, tuple[int, float, LaneUnusable]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def all(self) -> list[Lane]:
        return [self._lanes[lane_id] for lane_id in sorted(self._lanes)]

    def serves(self, lane_id: int) -> bool:
        """Whether the lane is one of this channel."""
        config = self._config.snapshot.lanes.get(lane_id)
        return config is not None and config.channel is self._channel

    def policy_of(self, lane_id: int) -> LanePolicy:
        """What protects a lane of this channel. Raises KeyError where there is none."""
        config = self._config.snapshot.lanes[lane_id]
        return self._policies.of(config.kind, config.limits)

    def apply_stops(self, stopped: Mapping[int, StopReason]) -> None:
        """Take over what is stopped, and what goes on. What was deleted is closed when it has answered."""
        self._let_go()
        for lane_id, lane in self._lanes.items():
            if lane.stop is not None and lane_id not in stopped:
                lane.protection.reset()
            lane.stop = stopped.get(lane_id)
        self.stopped = dict(stopped)

    async def get(self, lane_id: int) -> Lane:
        """Raises LaneUnusable (LaneUnknown where there is none of this channel, LaneDeleted where there was one),
        LedgerUnavailable."""
        if lane_id not in self._config.snapshot.lanes:
            await self._config.look_again()
        config = self._configured(lane_id)
        lane = self._lanes.get(lane_id)
        if lane is not None and lane.config.revision == config.revision:
            return lane
        async with self._making:
            config = self._configured(lane_id)  # changed, perhaps, while others made theirs: no step back
            lane = self._lanes.get(lane_id)
            if lane is None or lane.config.revision != config.revision:
                provider = await self._made(config)
                policy = self._policies.of(config.kind, config.limits)
                protection = Protection(policy, self._most_open, provider.timeout)
                fresh = Lane(config, provider, protection, self.stopped.get(lane_id))
                if lane is not None:
                    self._retire(lane)
                lane = self._lanes[lane_id] = fresh
            return lane

    async def close(self) -> None:
        """Close every provider at once."""
        closing = [lane.provider.close() for lane in self._lanes.values()]
        self._lanes.clear()
        await asyncio.gather(*closing, *self._retiring)

    def _configured(self, lane_id: int) -> LaneConfig:
        """The account as it is now. Raises LaneUnknown, LaneDeleted."""
        config = self._config.snapshot.lanes.get(lane_id)
        if config is None or config.channel is not self._channel:
            raise LaneUnknown("no such account")
        if config.deleted:
            raise LaneDeleted("the account was deleted", config.app_id)
        return config

    def _let_go(self) -> None:
        configured = self._config.snapshot.lanes
        for lane_id in [id_ for id_ in self._lanes if id_ in configured and configured[id_].deleted]:
            self._retire(self._lanes.pop(lane_id))

    def _retire(self, lane: Lane) -> None:
        retiring = asyncio.create_task(lane.retire())
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _made(self, config: LaneConfig) -> Provider:
        """A provider; one that could not be made is not tried for every batch, while the others wait for their turn."""
        revision, until, why = self._unusable.get(config.lane_id, (0, 0.0, None))
        if why is not None and revision == config.revision and monotonic() < until:
            raise why
        try:
            return await self._connect(config)
        except LaneUnusable as unusable:
            self._unusable[config.lane_id] = (config.revision, monotonic() + UNUSABLE_FOR_SECONDS, unusable)
            raise

    async def _connect(self, config: LaneConfig) -> Provider:
        factory = self._factories.get(config.kind)
        if factory is None:
            raise LaneUnusable(f"provider kind {config.kind!r} is not installed", config.app_id)
        if isinstance(factory, ForLane):
            factory = factory.for_lane(config.lane_id)
        try:
            sealer = await self._keys.sealer(config.app_id, config.settings)
            settings = sealer.open("lane", config.name.encode(), "settings", config.settings)
            provider = await factory.connect(settings, self._receipts(config))
        except (Unsealable, KeyError) as sealed:
            raise LaneUnusable(f"the account's settings cannot be opened: {sealed}", config.app_id) from sealed
        except ValidationError as faulty:
            raise LaneUnusable(f"the account's settings have {faulty.error_count()} faults", config.app_id) from faulty
        except ProviderUnavailable as away:
            raise LaneUnusable(str(away), config.app_id) from away
        except OSError as file:
            raise LaneUnusable(f"a file that the settings name: {type(file).__name__}", config.app_id) from file
        except Exception as defect:  # of a plug-in of somebody else's: what it would send is held, not burned
            log.exception("provider %s cannot be made", config.kind, extra={"lane": config.name})
            raise LaneUnusable(f"the provider has a defect: {type(defect).__name__}", config.app_id) from defect
        if provider.timeout > self._longest_timeout:
            await provider.close()
            longest = self._longest_timeout.total_seconds()
            raise LaneUnusable(f"the account's timeout is over {longest:.0f} s", config.app_id)
        return provider
