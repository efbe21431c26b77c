"""Which other account of the app may take over a delivery: its routes say so."""

from random import Random

from clarion_channels.engine.lanes import Lanes
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import ConfigCache
from clarion_ledger.dispatching import Claimed
from clarion_ledger.routing import choose_lane


class Failover:
    """The next in line, where there is one that is not stopped."""

    def __init__(self, channel: Channel, config: ConfigCache, lanes: Lanes, random: Random) -> None:
        self._channel = channel
        self._config = config
        self._lanes = lanes
        self._random = random

    def next_lane(self, delivery: Claimed) -> int | None:
        """The lane that serves in place of the delivery's own, None where it has to wait for that: an app without routes
        never said that another may."""
        if not self._config.snapshot.routes.get((delivery.app_id, self._channel)):
            return None
        avoid = {delivery.lane_id, *self._lanes.stopped}
        chosen = choose_lane(
            self._config.snapshot,
            delivery.app_id,
            self._channel,
            country=delivery.country,
            locale=delivery.locale,
            hint=delivery.hint,
            random=self._random,
            avoid=avoid,
        )
        return None if chosen in avoid else chosen

    def successor(self, delivery: Claimed) -> int | None:
        """The lane that today's routes give to what a deleted account had, as planning would: a stopped one, where there is
        no other, holds it. None where the app has none that serves it."""
        return choose_lane(
            self._config.snapshot,
            delivery.app_id,
            self._channel,
            country=delivery.country,
            locale=delivery.locale,
            hint=delivery.hint,
            random=self._random,
            avoid=self._lanes.stopped,
        )
