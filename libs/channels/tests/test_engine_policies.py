"""What protects an account: its kind's data, overruled by the account and the category."""

import tomllib
from datetime import timedelta
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from pydantic import ValidationError

from clarion.provider.v1.provider_service_pb2 import Breaker, DeadGuard, Limits
from clarion.types.v1 import retry_pb2
from clarion_channels.engine import policies as policies_module
from clarion_channels.engine.breaker import BreakerPolicy, DeadGuardPolicy
from clarion_channels.engine.lanes import ENTRY_POINT_GROUP
from clarion_channels.engine.policies import Pace, Policies, with_own
from clarion_channels.engine.retry import RetryPolicy

NOTHING = Limits()


def seconds(count: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=count))
    return duration


def test_kind_has_its_own_data_and_the_defaults_for_the_rest() -> None:
    policies = Policies.load()

    smtp, unknown = policies.of("smtp", NOTHING), policies.of("carrier-pigeon", NOTHING)

    assert smtp.retry == RetryPolicy(timedelta(seconds=30), timedelta(hours=1), 0.1, timedelta(days=3))
    assert unknown.retry == RetryPolicy(timedelta(seconds=1), timedelta(minutes=1), 0.1, timedelta(days=1))
    assert smtp.breaker == unknown.breaker
    assert unknown.breaker == BreakerPolicy(20, 0.6, timedelta(seconds=10), timedelta(seconds=5))
    assert unknown.dead_guard == DeadGuardPolicy(50, 0.4)
    assert (unknown.hold_limit, unknown.pace, unknown.max_in_flight) == (timedelta(days=1), None, None)


def test_account_overrules_its_kind_field_by_field() -> None:
    limits = Limits(
        per_second=12.5,
        burst=3,
        max_in_flight=7,
        retry=retry_pb2.RetryPolicy(base=seconds(2), budget=0.5),
        breaker=Breaker(min_attempts=5, probe_after=seconds(0.5)),
        dead_guard=DeadGuard(dead_ratio=0.9),
        hold_limit=seconds(60),
    )

    policy = Policies.load().of("smtp", limits)

    assert policy.retry == RetryPolicy(timedelta(seconds=2), timedelta(hours=1), 0.5, timedelta(days=3))
    assert policy.breaker == BreakerPolicy(5, 0.6, timedelta(seconds=10), timedelta(seconds=0.5))
    assert policy.dead_guard == DeadGuardPolicy(50, 0.9)
    assert (policy.hold_limit, policy.pace, policy.max_in_flight) == (timedelta(minutes=1), Pace(12.5, 3), 7)


def test_category_overrules_the_account() -> None:
    account = RetryPolicy(timedelta(seconds=2), timedelta(seconds=50), 0.5, timedelta(hours=3))
    own = retry_pb2.RetryPolicy(cap=seconds(20), deadline=seconds(600))

    assert with_own(account, own) == RetryPolicy(
        timedelta(seconds=2), timedelta(seconds=20), 0.5, timedelta(minutes=10)
    )
    assert with_own(account, retry_pb2.RetryPolicy()) == account


def test_cap_is_never_below_the_base() -> None:
    stated = with_own(RetryPolicy(), retry_pb2.RetryPolicy(base=seconds(300)))

    assert stated.base == stated.cap == timedelta(minutes=5)


@pytest.mark.parametrize(("per_second", "burst"), [(200.0, 200), (2.4, 2), (0.1, 1)])
def test_pace_without_a_burst_bears_one_seconds_worth(per_second: float, burst: int) -> None:
    assert Policies.load().of("apns", Limits(per_second=per_second)).pace == Pace(per_second, burst)


def test_practice_stack_replaces_the_times_of_every_kind_but_not_of_an_account() -> None:
    quick = Policies.load(
        retry_base=timedelta(seconds=0.1), retry_cap=timedelta(seconds=2), probe_after=timedelta(seconds=0.3)
    )
    own = Limits(retry=retry_pb2.RetryPolicy(base=seconds(1)), breaker=Breaker(probe_after=seconds(4)))

    for kind in ("smtp", "fcm", "carrier-pigeon"):
        policy = quick.of(kind, NOTHING)
        assert (policy.retry.base, policy.retry.cap) == (timedelta(seconds=0.1), timedelta(seconds=2))
        assert policy.breaker.probe_after == timedelta(seconds=0.3)
    assert quick.of("smtp", own).retry.base == timedelta(seconds=1)
    assert quick.of("smtp", own).breaker.probe_after == timedelta(seconds=4)


def test_every_kind_with_data_is_an_installed_provider() -> None:
    document = tomllib.loads(files("clarion_channels.engine").joinpath("policies.toml").read_text(encoding="utf-8"))
    installed = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)}

    assert set(document) - {"default"} <= installed


@pytest.mark.parametrize(
    "fault",
    ["[apns]\nretries = 3", "[apns]\nhold_limit = 0", "[apns]\nhold_limit = 'long'", "[apns]\nretry = { base = 1.0 }"],
)
def test_data_that_breaks_the_format_is_refused(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = files("clarion_channels.engine").joinpath("policies.toml").read_text(encoding="utf-8").split("[apns]")[0]
    tmp_path.joinpath("policies.toml").write_text(f"{default}\n{fault}\n", encoding="utf-8")
    monkeypatch.setattr(policies_module, "files", lambda package: tmp_path)

    with pytest.raises(ValidationError):
        Policies.load()
