"""The lanes of one channel: a provider for each account of each app, made when first needed, replaced when changed."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from pydantic import ValidationError

from clarion_channels.engine.lease import LONGEST_TIMEOUT
from clarion_channels.port import Provider, ProviderFactory, ProviderUnavailable, Receipts
from clarion_kit.sealing import Unsealable
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import ConfigCache, LaneConfig
from clarion_ledger.keys import KeyRing

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "clarion.providers"


class LaneUnusable(Exception):
    """No provider can be made for this lane; the text says why, without secrets."""


class LaneUnknown(LaneUnusable):
    """There is no such account, or it serves another channel."""


class Lane:
    """A provider account at work. `in_flight`: deliveries it was given and has not answered."""

    def __init__(self, config: LaneConfig, provider: Provider) -> None:
        self.config = config
        self.provider = provider
        self.in_flight = 0
        self.outcomes: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped_until = 0.0

    def enter(self) -> None:
        self.in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def retire(self) -> None:
        """Close the provider once it has answered for everything it was given."""
        await self._idle.wait()
        await self.provider.close()

    @property
    def stopped(self) -> bool:
        """True while its credentials are known to be refused."""
        return time.monotonic() < self._stopped_until

    def stop_for(self, seconds: float) -> None:
        if not self.stopped:
            log.error("lane stopped: credentials refused", extra={"lane": self.config.name, "app": self.config.app_id})
        self._stopped_until = time.monotonic() + seconds


def provider_factories(overrides: Mapping[str, ProviderFactory] | None = None) -> dict[str, ProviderFactory]:
    """Provider plug-ins by kind: `overrides` and every installed one. One without its libraries is left out and logged."""
    found = dict(overrides or {})
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in found:
            continue
        try:
            found[entry.name] = entry.load()()
        except ImportError as missing:
            log.debug("provider %s is not installed here: %s", entry.name, missing)
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
    ) -> None:
        self._channel = channel
        self._config = config
        self._keys = keys
        self._factories = factories
        self._receipts = receipts
        self._lanes: dict[int, Lane] = {}
        self._making = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    def all(self) -> list[Lane]:
        return [self._lanes[lane_id] for lane_id in sorted(self._lanes)]

    async def get(self, lane_id: int) -> Lane:
        """Raises LaneUnusable (LaneUnknown where there is none of this channel), LedgerUnavailable."""
        config = self._config.snapshot.lanes.get(lane_id)
        if config is None:
            config = (await self._config.look_again()).lanes.get(lane_id)
        if config is None or config.channel is not self._channel:
            raise LaneUnknown("no such account")
        lane = self._lanes.get(lane_id)
        if lane is not None and lane.config.revision == config.revision:
            return lane
        async with self._making:
            lane = self._lanes.get(lane_id)
            if lane is None or lane.config.revision != config.revision:
                fresh = Lane(config, await self._connect(config))
                if lane is not None:
                    self._retire(lane)
                lane = self._lanes[lane_id] = fresh
            return lane

    async def close(self) -> None:
        """Close every provider at once."""
        closing = [lane.provider.close() for lane in self._lanes.values()]
        self._lanes.clear()
        await asyncio.gather(*closing, *self._retiring)

    def _retire(self, lane: Lane) -> None:
        retiring = asyncio.create_task(lane.retire())
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    async def _connect(self, config: LaneConfig) -> Provider:
        factory = self._factories.get(config.kind)
        if factory is None:
            raise LaneUnusable(f"provider kind {config.kind!r} is not installed")
        try:
            sealer = await self._keys.sealer(config.app_id)
            settings = sealer.open("lane", config.name.encode(), "settings", config.settings)
            provider = await factory.connect(settings, self._receipts(config))
        except (Unsealable, KeyError) as sealed:
            raise LaneUnusable(f"the account's settings cannot be opened: {sealed}") from sealed
        except ValidationError as faulty:
            raise LaneUnusable(f"the account's settings have {faulty.error_count()} faults") from faulty
        except ProviderUnavailable as away:
            raise LaneUnusable(str(away)) from away
        if provider.timeout > LONGEST_TIMEOUT:
            await provider.close()
            raise LaneUnusable(f"the account's timeout is over {LONGEST_TIMEOUT.total_seconds():.0f} s")
        return provider
