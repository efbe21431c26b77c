"""Stopped lanes as this dispatcher sees them, and the half-open trial that lets them go on."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from clarion_channels.engine.lanes import Lane, Lanes, LaneUnusable
from clarion_channels.port import ProviderUnavailable
from clarion_kit.vocabulary import StopReason
from clarion_ledger import stops
from clarion_ledger.db import Pool

log = logging.getLogger(__name__)

POLL = timedelta(milliseconds=500)
LONGEST_PAUSE = timedelta(minutes=5)
END_LIMIT = 500

TRIAL = 5
"""Held deliveries a stopped lane is tried with."""
TRIALS_OF_FEW = 2
"""After so many trials with fewer than `TRIAL`, which were all it held, a lane whose connection stands goes on: a single
delivery that always fails must not keep an account stopped whose other traffic went elsewhere. The breaker judges what
comes then."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """How many held deliveries were tried, and whether the provider took any of them, or there were none."""

    tried: int
    worked: bool


Trial = Callable[[Lane], Awaitable[TrialResult]]
"""Sends a few held deliveries through a stopped lane."""


class Stops:
    """What is stopped, here at once and for all dispatchers within half a second."""

    def __init__(self, pool: Pool, lanes: Lanes) -> None:
        self._pool = pool
        self._lanes = lanes
        self._reported: dict[int, tuple[int, StopReason, str, timedelta | None]] = {}

    def stop(self, lane: Lane, reason: StopReason, detail: str) -> None:
        """Stop a lane: at once here; `look` tells the others."""
        if lane.stop is not None:
            return
        config = lane.config
        log.error(
            "lane stopped: %s", reason.name.lower(), extra={"lane": config.name, "app": config.app_id, "code": detail}
        )
        lane.stop = reason
        after = None if reason.by_hand else lane.protection.policy.breaker.probe_after
        self._reported[config.lane_id] = (config.app_id, reason, detail, after)

    def stop_unusable(self, lane_id: int, app_id: int, detail: str, after: timedelta) -> None:
        """Stop a lane that no provider can be made for."""
        self._reported.setdefault(lane_id, (app_id, StopReason.UNUSABLE, detail, after))

    async def look(self, trial: Trial) -> None:
        """Tell and learn what is stopped; try what is due. Raises LedgerUnavailable."""
        for lane_id, told in list(self._reported.items()):
            await stops.stop(self._pool, lane_id, *told)
            self._reported.pop(lane_id, None)
        now_stopped = await stops.stopped(self._pool)
        self._lanes.apply_stops(
            {lane_id: stop.reason for lane_id, stop in now_stopped.items()}
            | {lane_id: told[1] for lane_id, told in self._reported.items()}
        )
        for stop in now_stopped.values():
            if stop.probe_due and self._lanes.serves(stop.lane_id):
                await self._try(stop, trial)

    async def end_held(self) -> int:
        """Dead-letter what stopped lanes of this channel held for too long. Raises LedgerUnavailable."""
        limits = [
            (lane_id, self._lanes.policy_of(lane_id).hold_limit)
            for lane_id in self._lanes.stopped
            if self._lanes.serves(lane_id)
        ]
        return await stops.end_held(self._pool, limits, END_LIMIT)

    async def _try(self, stop: stops.Stop, trial: Trial) -> None:
        first = self._lanes.policy_of(stop.lane_id).breaker.probe_after
        pause = min(LONGEST_PAUSE, first * (1 << min(stop.probes + 1, 16)))
        if not await stops.take_probe(self._pool, stop.lane_id, pause):
            return
        try:
            lane = await self._lanes.get(stop.lane_id)
            await lane.probe()
        except (LaneUnusable, ProviderUnavailable, TimeoutError) as away:
            log.warning("stopped lane tried, still away: %s", away, extra={"lane_id": stop.lane_id})
            return
        result = await trial(lane)
        few = result.tried < TRIAL and stop.probes + 1 >= TRIALS_OF_FEW and stop.reason is StopReason.BREAKER
        if (result.worked or few) and await stops.resume(self._pool, stop.lane_id):
            log.warning("lane goes on", extra={"lane": lane.config.name, "app": lane.config.app_id})
            lane.stop = None
            lane.protection.reset()
            self._lanes.stopped.pop(stop.lane_id, None)
