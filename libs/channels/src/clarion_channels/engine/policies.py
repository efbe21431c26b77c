"""What protects an account: data by kind of provider (policies.toml), overruled by the account and the category."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.resources import files

from google.protobuf.duration_pb2 import Duration
from pydantic import BaseModel, ConfigDict, Field

from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.types.v1 import retry_pb2
from clarion_channels.engine.breaker import BreakerPolicy, DeadGuardPolicy
from clarion_channels.engine.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Pace:
    """Messages a second, all workers of the account together, and how many at once after a pause."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """All that protects one account. `pace` None: not paced; `max_in_flight` None: the provider's own."""

    retry: RetryPolicy
    breaker: BreakerPolicy
    dead_guard: DeadGuardPolicy
    hold_limit: timedelta
    pace: Pace | None = None
    max_in_flight: int | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Retry(_Strict):
    base: float = Field(gt=0)
    cap: float = Field(gt=0)
    budget: float = Field(gt=0, le=1)
    deadline: float = Field(gt=0)


class _Breaker(_Strict):
    min_attempts: int = Field(ge=1)
    failure_ratio: float = Field(gt=0, le=1)
    window: float = Field(gt=0)
    probe_after: float = Field(gt=0)


class _DeadGuard(_Strict):
    min_answers: int = Field(ge=1)
    dead_ratio: float = Field(gt=0, le=1)


class _Kind(_Strict):
    retry: _Retry | None = None
    breaker: _Breaker | None = None
    dead_guard: _DeadGuard | None = None
    hold_limit: float | None = Field(None, gt=0)


class _Default(_Strict):
    retry: _Retry
    breaker: _Breaker
    dead_guard: _DeadGuard
    hold_limit: float = Field(gt=0)


class Policies:
    """The data of all kinds. `retry_base`, `retry_cap` and `probe_after` replace every kind's own, for practice stacks."""

    def __init__(
        self,
        default: LanePolicy,
        kinds: Mapping[str, LanePolicy],
        *,
        retry_base: timedelta | None = None,
        retry_cap: timedelta | None = None,
        probe_after: timedelta | None = None,
    ) -> None:
        self._default = default
        self._kinds = kinds
        self._retry_base = retry_base
        self._retry_cap = retry_cap
        self._probe_after = probe_after

    @staticmethod
    def load(
        *, retry_base: timedelta | None = None, retry_cap: timedelta | None = None, probe_after: timedelta | None = None
    ) -> "Policies":
        """From policies.toml. Raises ValueError where it breaks the format."""
        text = files("clarion_channels.engine").joinpath("policies.toml").read_text(encoding="utf-8")
        document = tomllib.loads(text)
        stated = _Default.model_validate(document.pop("default"))
        default = _policy(stated.retry, stated.breaker, stated.dead_guard, stated.hold_limit)
        kinds = {}
        for kind, table in document.items():
            own = _Kind.model_validate(table)
            kinds[kind] = _policy(
                own.retry or stated.retry,
                own.breaker or stated.breaker,
                own.dead_guard or stated.dead_guard,
                own.hold_limit or stated.hold_limit,
            )
        return Policies(default, kinds, retry_base=retry_base, retry_cap=retry_cap, probe_after=probe_after)

    def of(self, kind: str, limits: Limits) -> LanePolicy:
        """The policy of an account of this kind with these limits of its own."""
        policy = self._kinds.get(kind, self._default)
        retry = policy.retry
        base, cap = self._retry_base or retry.base, self._retry_cap or retry.cap
        return LanePolicy(
            retry=with_own(replace(retry, base=base, cap=max(base, cap)), limits.retry),
            breaker=BreakerPolicy(
                limits.breaker.min_attempts or policy.breaker.min_attempts,
                limits.breaker.failure_ratio or policy.breaker.failure_ratio,
                _stated(limits.breaker.window) or policy.breaker.window,
                _stated(limits.breaker.probe_after) or self._probe_after or policy.breaker.probe_after,
            ),
            dead_guard=DeadGuardPolicy(
                limits.dead_guard.min_answers or policy.dead_guard.min_answers,
                limits.dead_guard.dead_ratio or policy.dead_guard.dead_ratio,
            ),
            hold_limit=_stated(limits.hold_limit) or policy.hold_limit,
            pace=_pace(limits),
            max_in_flight=limits.max_in_flight or None,
        )


def with_own(policy: RetryPolicy, own: retry_pb2.RetryPolicy) -> RetryPolicy:
    """`policy` with what `own` states in its place."""
    if not own.ByteSize():
        return policy
    base = _stated(own.base) or policy.base
    return RetryPolicy(
        base=base,
        cap=max(base, _stated(own.cap) or policy.cap),
        budget=own.budget or policy.budget,
        deadline=_stated(own.deadline) or policy.deadline,
    )


def _pace(limits: Limits) -> Pace | None:
    if not limits.per_second:
        return None
    return Pace(limits.per_second, limits.burst or max(1, round(limits.per_second)))


def _stated(duration: Duration) -> timedelta | None:
    return duration.ToTimedelta() or None


def _policy(retry: _Retry, breaker: _Breaker, guard: _DeadGuard, hold_limit: float) -> LanePolicy:
    return LanePolicy(
        retry=RetryPolicy(
            timedelta(seconds=retry.base), timedelta(seconds=retry.cap), retry.budget, timedelta(seconds=retry.deadline)
        ),
        breaker=BreakerPolicy(
            breaker.min_attempts,
            breaker.failure_ratio,
            timedelta(seconds=breaker.window),
            timedelta(seconds=breaker.probe_after),
        ),
        dead_guard=DeadGuardPolicy(guard.min_answers, guard.dead_ratio),
        hold_limit=timedelta(seconds=hold_limit),
    )
