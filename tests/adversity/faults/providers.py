"""Providers: outages, throttling, slowness, lost answers, dead tokens; told to the sandbox as a script."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

from tests.adversity.faults.base import Fault, Part, fired
from tests.adversity.script import Rule
from tests.adversity.shop import PROVIDERS

_THROTTLED: Mapping[str, str] = {"apns": "4290", "fcm": "4290", "webpush": "4290", "smpp": "088", "smtp": "421-4.3.2"}
_ASKED_WITHIN_SECONDS = 20.0


class _Scripted(Fault):
    """Rules in force for a while; proven by the answers that the provider gave meanwhile."""

    parts: ClassVar = (Part.PROVIDERS,)
    before: Mapping[str, Mapping[str, int]]
    concerned: Sequence[str] = ()

    @abstractmethod
    def rules(self) -> Sequence[Rule]:
        """What is put; called once."""

    async def inject(self) -> None:
        rules = self.rules()
        self.concerned = sorted({str(rule["provider"]) for rule in rules})
        self.before = {provider: await self.world.script.answers(provider) for provider in self.concerned}
        await self.world.script.put(self.name, *rules)

    async def hold(self) -> None:
        """As long as drawn, and until somebody was struck."""
        await super().hold()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ASKED_WITHIN_SECONDS):
                while not await self._asked():  # noqa: ASYNC110  # only the sandbox knows
                    await asyncio.sleep(0.5)

    async def heal(self) -> None:
        await self.world.script.put(self.name)

    async def prove(self) -> None:
        fired(await self._asked(), f"{', '.join(self.concerned)} were not asked for anything")

    async def _asked(self) -> bool:
        return {provider: await self.world.script.answers(provider) for provider in self.concerned} != self.before

    def some(self, most: int) -> list[str]:
        return self.random.sample(sorted(PROVIDERS), self.random.randint(1, most))


class Outage(_Scripted):
    row, name = 23, "a provider answers 503"
    hold_seconds = (3.0, 8.0)

    def rules(self) -> Sequence[Rule]:
        return [{"provider": provider, "answer": "outage"} for provider in self.some(1)]


class Throttled(_Scripted):
    row, name = 24, "a provider throttles, with Retry-After where it can"
    hold_seconds = (1.0, 3.0)

    def rules(self) -> Sequence[Rule]:
        return [
            {"provider": provider, "answer": _THROTTLED[provider], "ratio": 0.5, "seed": self.random.randrange(1 << 20)}
            for provider in self.some(2)
        ]


class Slow(_Scripted):
    row, name = 25, "a provider slows down"
    hold_seconds = (2.0, 5.0)
    latency_ms = 1_000
    """30 s at 1:30."""

    def rules(self) -> Sequence[Rule]:
        return [{"provider": provider, "latency_ms": self.latency_ms} for provider in self.some(2)]


class NothingWorks(_Scripted):
    row, name = 26, "all sends fail"
    hold_seconds = (2.0, 4.0)

    def rules(self) -> Sequence[Rule]:
        return [{"provider": provider, "answer": "outage"} for provider in PROVIDERS]


class AnswersLost(_Scripted):
    """The other half of row 20: the provider takes a message, and nobody hears of it."""

    row, name = 20, "a provider takes messages and its answers are lost"

    def rules(self) -> Sequence[Rule]:
        return [
            {
                "provider": provider,
                "answer": self.random.choice(("lost", "lostcut")),
                "times": self.random.randint(1, 5),
            }
            for provider in self.some(3)
        ]


class ConnectionsCut(_Scripted):
    row, name = 20, "a provider cuts connections or never answers"

    def rules(self) -> Sequence[Rule]:
        return [
            {"provider": provider, "answer": self.random.choice(("cut", "hang")), "times": self.random.randint(1, 5)}
            for provider in self.some(3)
        ]
