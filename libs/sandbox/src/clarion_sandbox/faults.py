"""Scripted faults: latency, outages, error ratios and lost answers, put in place through the control API."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .answers import AnswerTable, Fate

ProviderName = Literal[
    "apns", "fcm", "google_token", "webpush", "smpp", "smtp", "huawei", "huawei_token", "twilio", "ses", "sendgrid"
]


class FaultRule(BaseModel):
    """One fault of a script. The first rule that strikes decides the answer; latencies of matching rules add up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: ProviderName
    match: Annotated[str, Field(max_length=1024)] = ""
    """Prefix of the destinations it strikes; empty = all."""
    latency_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.0
    """Delay before each answer (SMTP: before each reply)."""
    answer: Annotated[str, Field(max_length=32)] | None = None
    """A code of the provider's table, ``hang``, ``cut``, ``lost``, ``lostcut`` or ``outage``; None = latency only."""
    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the requests that get ``answer``."""
    times: Annotated[int, Field(ge=1)] | None = None
    """How often ``answer`` is given before the rule is spent; None = without end."""
    until: float | None = None
    """Unix seconds after which the rule is void; None = until replaced."""
    outage_until: float | None = None
    """Short for ``answer: outage, until: …``."""
    seed: int = 0
    """Seed of the dice of ``ratio``: the same script strikes the same requests."""

    @model_validator(mode="after")
    def _outage_stands_alone(self) -> "FaultRule":
        if self.outage_until is not None and (self.answer is not None or self.until is not None):
            raise ValueError("outage_until excludes answer and until")
        return self


class FaultRules(BaseModel):
    """A whole script: replaces the one before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faults: Annotated[list[FaultRule], Field(max_length=100)]


class UnknownAnswer(ValueError):
    """A rule names an answer its provider does not have."""


class _ArmedRule:
    def __init__(self, rule: FaultRule, fate: Fate | None) -> None:
        self.rule = rule
        self.fate = fate
        self.until = rule.until if rule.outage_until is None else rule.outage_until
        self._left = rule.times
        self._dice = random.Random(rule.seed)

    def concerns(self, destination: str, now: float) -> bool:
        return (self.until is None or now < self.until) and destination.startswith(self.rule.match)

    def strike(self) -> Fate | None:
        if self.fate is None or self._left == 0:
            return None
        if self.rule.ratio < 1 and self._dice.random() >= self.rule.ratio:
            return None
        if self._left is not None:
            self._left -= 1
        return self.fate


class FaultScript:
    """The rules in force, by provider."""

    def __init__(self, tables: Mapping[str, AnswerTable], clock: Callable[[], float] = time.time) -> None:
        self._tables = tables
        self._clock = clock
        self._armed: dict[str, list[_ArmedRule]] = {}

    @property
    def rules(self) -> FaultRules:
        """The script as it was put."""
        return FaultRules(faults=[armed.rule for rules in self._armed.values() for armed in rules])

    def replace(self, script: FaultRules) -> None:
        """Put ``script`` in force instead of the one before.

        Raises:
            UnknownAnswer: an answer that the provider does not have; the script before stays.
        """
        armed: dict[str, list[_ArmedRule]] = {}
        for rule in script.faults:
            answer = "outage" if rule.outage_until is not None else rule.answer
            fate = None if answer is None else self._tables[rule.provider].find(answer)
            if answer is not None and fate is None:
                raise UnknownAnswer(f"{rule.provider} has no answer {answer!r}")
            armed.setdefault(rule.provider, []).append(_ArmedRule(rule, fate))
        self._armed = armed

    def latency(self, provider: str, destination: str = "") -> float:
        """Seconds to wait before an answer to ``destination``."""
        rules = self._armed.get(provider)
        if rules is None:
            return 0.0
        now = self._clock()
        return sum(armed.rule.latency_ms for armed in rules if armed.concerns(destination, now)) / 1000

    def strike(self, provider: str, destination: str) -> Fate | None:
        """What a rule does to this request, None if nothing."""
        rules = self._armed.get(provider)
        if rules is None:
            return None
        now = self._clock()
        for armed in rules:
            if armed.concerns(destination, now):
                fate = armed.strike()
                if fate is not None:
                    return fate
        return None
