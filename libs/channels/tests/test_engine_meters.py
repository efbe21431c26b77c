"""What the engine counts of an answer and of an end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import create_autospec
from uuid import UUID

import pytest

from clarion_channels.engine.meters import Meters
from clarion_channels.errortable import UNLISTED_PREFIX
from clarion_channels.outcome import Outcome, Result
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import Channel, DeliveryState, Priority
from clarion_ledger.app_labels import AppLabels
from clarion_ledger.config import ConfigCache, Snapshot

from .claimed_sample import CLAIMED as SAMPLE

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TRACE = "00-0000000000000000000000000000000a-00000000000000aa-01"
ACCEPTED_MS = int(NOW.timestamp() * 1_000) - 7_000
CLAIMED = replace(
    SAMPLE,
    notification_id=UUID(int=ACCEPTED_MS << 80 | 7 << 76 | 2 << 62),
    priority=Priority.URGENT,
    planned_at=NOW - timedelta(seconds=2),
    claimed_at=NOW,
    expire_at=NOW,
    traceparent=TRACE,
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def meters(metrics: Metrics) -> Meters:
    config = create_autospec(ConfigCache, instance=True)
    config.snapshot = Snapshot(app_names={"shop": 1})
    return Meters(Channel.SMS, metrics, AppLabels(config))


def value(metrics: Metrics, series: str, **labels: str) -> float | None:
    found: float | None = metrics.registry.get_sample_value(series, labels)
    return found


def test_answer_is_counted_with_its_time(metrics: Metrics, meters: Meters) -> None:
    meters.answered("smpp", Result(Outcome.ACCEPTED), DeliveryState.SENT, 0.02, TRACE)

    labels = {"channel": "sms", "provider": "smpp"}
    assert value(metrics, names.ATTEMPTS.name, outcome="accepted", **labels) == 1
    assert value(metrics, f"{names.PROVIDER_CALL.name}_sum", **labels) == 0.02
    assert value(metrics, names.RETRIES.name, outcome="accepted", **labels) is None


@pytest.mark.parametrize(
    ("state", "retries"),
    [(DeliveryState.RETRY_WAIT, 1), (DeliveryState.DEAD_LETTERED, None), (DeliveryState.HELD, None)],
)
def test_only_what_comes_again_is_a_retry(
    metrics: Metrics, meters: Meters, state: DeliveryState, retries: float | None
) -> None:
    meters.answered("smpp", Result(Outcome.RETRY, "0x58"), state, 0.02, "")

    assert value(metrics, names.RETRIES.name, channel="sms", provider="smpp", outcome="retry") == retries


@pytest.mark.parametrize(("opted_out", "fate"), [(False, "dead"), (True, "opted_out")])
def test_address_that_died_is_told_from_one_whose_owner_opted_out(
    metrics: Metrics, meters: Meters, opted_out: bool, fate: str
) -> None:
    meters.answered("smpp", Result(Outcome.DEAD, opted_out=opted_out), DeliveryState.FAILED, 0.02, "")

    assert value(metrics, names.DEAD_ADDRESSES.name, channel="sms", provider="smpp", fate=fate) == 1


@pytest.mark.parametrize(("code", "unknown"), [(f"{UNLISTED_PREFIX}777", 1), ("777", None), ("", None)])
def test_code_that_no_table_lists_is_counted(
    metrics: Metrics, meters: Meters, code: str, unknown: float | None
) -> None:
    meters.answered("smpp", Result(Outcome.RETRY, code), DeliveryState.RETRY_WAIT, 0.02, "")

    assert value(metrics, names.UNKNOWN_CODES.name, provider="smpp") == unknown


def test_end_is_counted_by_channel_and_by_app(metrics: Metrics, meters: Meters) -> None:
    meters.ended(CLAIMED, DeliveryState.FAILED, NOW)

    assert value(metrics, names.TERMINAL.name, channel="sms", state="failed") == 1
    assert value(metrics, names.TERMINAL_BY_APP.name, app="shop", channel="sms", state="failed") == 1
    assert value(metrics, f"{names.DELIVERY_AGE.name}_count", channel="sms", priority="urgent") is None


def test_what_is_sent_has_an_age_since_it_was_accepted_and_since_it_was_planned(
    metrics: Metrics, meters: Meters
) -> None:
    meters.ended(CLAIMED, DeliveryState.SENT, NOW)

    assert value(metrics, f"{names.DELIVERY_AGE.name}_sum", channel="sms", priority="urgent") == pytest.approx(7)
    assert value(metrics, f"{names.DISPATCH_AGE.name}_sum", channel="sms", priority="urgent") == pytest.approx(2)


def test_what_rested_by_intention_is_not_late(metrics: Metrics, meters: Meters) -> None:
    meters.ended(replace(CLAIMED, gates_due=True), DeliveryState.SENT, NOW)

    assert value(metrics, f"{names.DELIVERY_AGE.name}_count", channel="sms", priority="urgent") == 1
    assert value(metrics, f"{names.DISPATCH_AGE.name}_count", channel="sms", priority="urgent") is None


def test_clock_that_stepped_back_makes_no_negative_age(metrics: Metrics, meters: Meters) -> None:
    meters.ended(CLAIMED, DeliveryState.SENT, NOW - timedelta(hours=1))

    assert value(metrics, f"{names.DELIVERY_AGE.name}_sum", channel="sms", priority="urgent") == 0
