"""Scripted faults: latency, outages, error ratios and lost answers, put in place through the control API."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .answers import AnswerTable, Fate
from .chance import Chance, Strikes
from .http2_faults import Http2Fault, Http2Script

ProviderName = Literal[
    "apns", "fcm", "google_token", "webpush", "smpp", "smtp", "huawei", "huawei_token", "twilio", "ses", "sendgrid"
]


class FaultRule(Chance):
    """One fault of a script. The first rule that strikes decides the answer; latencies of matching rules add up.

    ``ratio``, ``times`` and ``seed`` concern ``answer``; a latency delays every answer.
    """

    provider: ProviderName
    match: Annotated[str, Field(max_length=1024)] = ""
    """Prefix of the destinations it strikes; empty = all."""
    latency_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.0
    """Delay before each answer (SMTP: before each reply)."""
    jitter_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.0
    """A random part on top of ``latency_ms``: uniform between 0 and this, by the rule's dice."""
    answer: Annotated[str, Field(max_length=32)] | None = None
    """A code of the provider's table, ``hang``, ``cut``, ``lost``, ``lostcut`` or ``outage``; None = latency only."""
    outage_until: float | None = None
    """Short for ``answer: outage, until: …``."""

    @model_validator(mode="after")
    def _outage_stands_alone(self) -> "FaultRule":
        if self.outage_until is not None and (self.answer is not None or self.until is not None):
            raise ValueError("outage_until excludes answer and until")
        return self


class FaultRules(BaseModel):
    """A whole script: replaces the one before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    faults: Annotated[list[FaultRule], Field(max_length=100)] = []
    """What providers answer, on every listener."""
    http2: Annotated[list[Http2Fault], Field(max_length=100)] = []
    """What the HTTP/2 listener does to streams and connections."""


class UnknownAnswer(ValueError):
    """A rule names an answer its provider does not have."""


class _ArmedRule:
    def __init__(self, rule: FaultRule, fate: Fate | None) -> None:
        self.rule = rule
        self.fate = fate
        self.until = rule.until if rule.outage_until is None else rule.outage_until
        self._strikes = Strikes(rule)
        self._jitter = random.Random(rule.seed)

    def concerns(self, destination: str, now: float) -> bool:
        return (self.until is None or now < self.until) and destination.startswith(self.rule.match)

    def latency_ms(self) -> float:
        return self.rule.latency_ms + self._jitter.random() * self.rule.jitter_ms

    def strike(self) -> Fate | None:
        return self.fate if self.fate is not None and self._strikes.strike() else None


class FaultScript:
    """The rules in force, by provider."""

    def __init__(self, tables: Mapping[str, AnswerTable], clock: Callable[[], float] = time.time) -> None:
        self._tables = tables
        self._clock = clock
        self._armed: dict[str, list[_ArmedRule]] = {}
        self.http2 = Http2Script(clock)

    @property
    def rules(self) -> FaultRules:
        """The script as it was put."""
        faults = [armed.rule for rules in self._armed.values() for armed in rules]
        return FaultRules(faults=faults, http2=self.http2.rules)

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
        self.http2.replace(script.http2)

    def latency(self, provider: str, destination: str = "") -> float:
        """Seconds to wait before an answer to ``destination``."""
        rules = self._armed.get(provider)
        if rules is None:
            return 0.0
        now = self._clock()
        return sum(armed.latency_ms() for armed in rules if armed.concerns(destination, now)) / 1000

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
