"""The collector of telemetry: nothing waits for it."""

from typing import ClassVar

from tests.adversity.faults.base import Fault, Part, fired


class CollectorAway(Fault):
    row, name = 33, "the telemetry collector away or silent"
    parts: ClassVar = (Part.COLLECTOR,)
    hold_seconds = (2.0, 5.0)
    share = 3
    before = 0

    async def inject(self) -> None:
        line = self.world.lines.collector
        self.before = line.accepted
        if self.random.random() < 0.5:
            await line.refuse()
            await line.reset()
        else:
            line.blackhole()

    async def heal(self) -> None:
        self.world.lines.collector.heal()

    async def prove(self) -> None:
        fired(self.before > 0, "no daemon ever reached the collector")
