"""The arithmetic of the report, and its last line."""

import json
from dataclasses import replace

import pytest

from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason, Receipt
from clarion_ledger.audit import Audit
from clarion_local.demo.matching import Mismatch
from clarion_local.demo.report import DeliveryFact, Report, Spread, first_try_seconds, funnels, spread

SENT = DeliveryFact(
    delivery_id="d",
    channel=Channel.IOS,
    state=DeliveryState.SENT,
    reason=None,
    receipt=None,
    priority=Priority.NORMAL,
    attempts=1,
    ambiguous=False,
    kind="apns",
    message_id="m",
    seconds=0.5,
)
SUPPRESSED = replace(SENT, state=DeliveryState.SUPPRESSED, reason=Reason.OPTED_OUT, attempts=0)
DELIVERIES = [
    SENT,
    replace(SENT, channel=Channel.SMS, receipt=Receipt.DELIVERED),
    replace(SENT, channel=Channel.SMS, receipt=Receipt.UNDELIVERED),
    replace(SENT, channel=Channel.EMAIL, receipt=Receipt.SEEN, attempts=2, seconds=3.0),
    replace(SENT, state=DeliveryState.FAILED, reason=Reason.ADDRESS_DEAD),
    replace(SENT, state=DeliveryState.DEAD_LETTERED, reason=Reason.RETRIES_EXHAUSTED, attempts=4),
    SUPPRESSED,
]
STATES = {20: 4, 21: 1, 22: 1, 25: 1}
AUDIT = Audit(
    accepted=3,
    scheduled=0,
    deliveries_by={(1, Channel.IOS, state): count for state, count in STATES.items()},
    findings={},
    resting=(),
)
IN_FLIGHT = {(1, Channel.IOS, 20): 4, (1, Channel.IOS, 2): 1}
REPORT = Report(3, AUDIT, DELIVERIES, Mismatch(), seconds=12.3456, ready_seconds=4.0)


def test_funnel_counts_states_reasons_and_receipts_by_channel() -> None:
    found = funnels(DELIVERIES)

    ios, sms, mail = found[Channel.IOS], found[Channel.SMS], found[Channel.EMAIL]
    assert ios.states == {
        DeliveryState.SENT: 1,
        DeliveryState.FAILED: 1,
        DeliveryState.DEAD_LETTERED: 1,
        DeliveryState.SUPPRESSED: 1,
    }
    assert ios.reasons[DeliveryState.SUPPRESSED, Reason.OPTED_OUT] == 1
    assert (sms.arrived, sms.undelivered, sms.seen) == (1, 1, 0)
    assert (mail.arrived, mail.seen) == (1, 1)
    assert found[Channel.WEB].deliveries == 0


def test_deliveries_of_all_funnels_are_all_deliveries() -> None:
    assert sum(one.deliveries for one in funnels(DELIVERIES).values()) == len(DELIVERIES)


def test_percentiles_are_values_that_were_measured() -> None:
    assert spread([float(n) for n in range(100, 0, -1)]) == Spread(100, 50.0, 95.0, 99.0)
    assert spread([7.0]) == Spread(1, 7.0, 7.0, 7.0)
    assert spread([]) is None


def test_latency_leaves_out_what_was_retried_or_not_sent() -> None:
    assert first_try_seconds(DELIVERIES)[Priority.NORMAL] == [0.5, 0.5, 0.5]


def test_summary_is_plain_json_with_every_count() -> None:
    summary = json.loads(json.dumps(REPORT.summary()))

    assert summary == {
        "accepted": 3,
        "deliveries": 7,
        "sent": 4,
        "suppressed": 1,
        "failed": 1,
        "expired": 0,
        "cancelled": 0,
        "dead_lettered": 1,
        "in_flight": 0,
        "unaccounted": 0,
        "provider_mismatch": 0,
        "seconds": 12.35,
        "ready_seconds": 4.0,
        "scenes": {},
        "channels": {
            "ios": {"sent": 1, "delivered": 0, "seen": 0},
            "android": {"sent": 0, "delivered": 0, "seen": 0},
            "web": {"sent": 0, "delivered": 0, "seen": 0},
            "sms": {"sent": 2, "delivered": 1, "seen": 0},
            "email": {"sent": 1, "delivered": 1, "seen": 1},
        },
    }


def test_run_in_which_everything_is_accounted_for_has_no_faults() -> None:
    assert REPORT.faults == []


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (replace(REPORT, wanted=4), "3 of 4 notifications were accepted"),
        (replace(REPORT, audit=replace(AUDIT, deliveries_by=IN_FLIGHT)), "1 are still in flight"),
        (replace(REPORT, audit=replace(AUDIT, scheduled=2)), "2 are still in flight"),
        (replace(REPORT, audit=replace(AUDIT, findings={"lost": 5})), "5 contradictions"),
        (replace(REPORT, mismatch=Mismatch(foreign=(1, 2))), "2 deliveries and provider messages do not match"),
    ],
)
def test_whatever_is_not_accounted_for_is_a_fault(report: Report, said: str) -> None:
    [fault] = report.faults
    assert said in fault
