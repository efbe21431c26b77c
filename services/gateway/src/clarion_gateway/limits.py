"""Whether limits and retry policies are within what the contract allows."""

import math
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from clarion.provider.v1.provider_service_pb2 import Limits
from clarion.types.v1.retry_pb2 import RetryPolicy
from clarion_kit.validate import Faults

_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
LONGEST_HOLD = 30 * _DAY


def check_limits(limits: Limits, faults: Faults) -> None:
    """Faults of an account's limits, by field."""
    faults.require(
        "per_second",
        limits.per_second == 0 or (math.isfinite(limits.per_second) and 0.001 <= limits.per_second <= 1_000_000),
        "0 (not paced), or 0.001 to 1,000,000",
    )
    faults.require("burst", limits.burst <= 1_000_000, "at most 1,000,000")
    faults.require("max_in_flight", limits.max_in_flight <= 100_000, "at most 100,000")
    with faults.within("retry."):
        check_retry(limits.retry, faults)
    with faults.within("breaker."):
        breaker = limits.breaker
        faults.require("min_attempts", breaker.min_attempts <= 100_000, "1 to 100,000")
        _ratio(faults, "failure_ratio", breaker.failure_ratio, 0.05)
        _within(faults, "window", breaker.window, _SECOND, timedelta(minutes=10), "1 second to 10 minutes")
        shortest = timedelta(milliseconds=100)
        _within(faults, "probe_after", breaker.probe_after, shortest, timedelta(minutes=5), "100 ms to 5 minutes")
    with faults.within("dead_guard."):
        faults.require("min_answers", limits.dead_guard.min_answers <= 100_000, "1 to 100,000")
        _ratio(faults, "dead_ratio", limits.dead_guard.dead_ratio, 0.01)
    _within(faults, "hold_limit", limits.hold_limit, _SECOND, LONGEST_HOLD, "1 second to 30 days")


def check_retry(retry: RetryPolicy, faults: Faults) -> None:
    """Faults of a retry policy, by field; what is left out has none."""
    shortest, longest = timedelta(milliseconds=10), timedelta(hours=6)
    _within(faults, "base", retry.base, shortest, timedelta(hours=1), "10 ms to 1 hour")
    _within(faults, "cap", retry.cap, shortest, longest, "10 ms to 6 hours")
    if retry.HasField("base") and retry.HasField("cap") and not faults.found:
        faults.require("cap", retry.base.ToTimedelta() <= retry.cap.ToTimedelta(), "not less than base")
    _ratio(faults, "budget", retry.budget, 0.01)
    _within(faults, "deadline", retry.deadline, _SECOND, LONGEST_HOLD, "1 second to 30 days")


def _ratio(faults: Faults, field: str, value: float, least: float) -> None:
    faults.require(field, value == 0 or least <= value <= 1, f"{least} to 1")


def _within(faults: Faults, field: str, given: Duration, least: timedelta, most: timedelta, allowed: str) -> None:
    if given == Duration():
        return
    try:
        fits = least <= given.ToTimedelta() <= most
    except (ValueError, OverflowError):
        fits = False
    faults.require(field, fits, allowed)
