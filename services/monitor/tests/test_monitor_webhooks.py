"""When a webhook that takes nothing is an incident."""

from datetime import timedelta

import pytest

from clarion_kit.clock import SystemClock
from clarion_kit.telemetry.metrics import Metrics
from clarion_monitor.domain import Kind, Limits
from clarion_monitor.gauges import Gauges
from clarion_monitor.watch import Watch
from clarion_monitor.webhooks import SwitchedOff, off_readings

from .monitor_samples import FakeAccounts, FakeBus, FakeIncidents, FakeLedger


def off(webhook_id: int = 7, name: str = "orders", reason: str = "failing", seconds: float = 5) -> SwitchedOff:
    return SwitchedOff(1, webhook_id, name, reason, timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("failing", "every try failed for days"),
        ("gone", "its receiver says that it is gone"),
        ("a word of\na newer version", "a word of?a newer version"),
    ],
)
def test_webhook_that_was_switched_off_is_an_incident_that_says_why(reason: str, why: str) -> None:
    [reading] = off_readings([off(reason=reason, seconds=0)])

    assert reading.passed
    assert (reading.kind, reading.what) == (Kind.WEBHOOKS, f"the webhook orders was switched off: {why}")
    assert (reading.app_id, reading.lane_id) == (1, None)


def test_each_webhook_is_one_incident_however_long_it_lasts() -> None:
    first, later = off_readings([off(), off(8)]), off_readings([off(seconds=90_000), off(8, seconds=90_000)])

    assert [one.key for one in first] == [one.key for one in later]
    assert len({one.key for one in first}) == 2


async def test_look_at_the_accounts_tells_webhooks_until_they_are_put_again() -> None:
    ledger, incidents, clock = FakeLedger(), FakeIncidents(), SystemClock()
    limits = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
    watch = Watch(FakeBus(), ledger, FakeAccounts(), incidents, Gauges(Metrics(), clock), limits, clock)
    ledger.off = [off()]

    await watch.look_at_accounts()
    told = [reading.key for reading in incidents.passed[Kind.WEBHOOKS]]
    ledger.off = []
    await watch.look_at_accounts()

    assert told == ["webhooks/webhook 7 switched off"]
    assert incidents.passed[Kind.WEBHOOKS] == []
