"""The checker finds every kind of contradiction it exists for, and nothing else."""

import pytest

from clarion_client import Channel
from clarion_kit.vocabulary import DeliveryState, Reason

from .checker import Evidence, Stored, Verdict, check
from .told import Told, Word

OK = Told(Channel.IOS, False, "main", Word.OK, "n1")
CODE = Told(Channel.SMS, True, "main", Word.OK, "n1")
UNKNOWN = Told(Channel.IOS, False, "main")
REFUSED = Told(Channel.IOS, False, "main", Word.REFUSED)
SENT = Stored("n1", "d1", DeliveryState.SENT, deliveries=1)
DOUBTFUL = Stored("n1", "d1", DeliveryState.SENT, may_repeat=True, deliveries=1)


def judged(told: Told, stored: Stored | None, received: int) -> Verdict:
    return check(Evidence({"e1": told}, {} if stored is None else {"e1": stored}, {"e1": received} if received else {}))


@pytest.mark.parametrize(
    ("told", "stored", "received"),
    [
        (OK, SENT, 1),
        (UNKNOWN, SENT, 1),
        (UNKNOWN, None, 0),
        (REFUSED, None, 0),
        (OK, Stored("n1", "d1", DeliveryState.SUPPRESSED, Reason.CAPPED, deliveries=1), 0),
        (CODE, Stored("n1", "d1", DeliveryState.FAILED, Reason.AMBIGUOUS, may_repeat=True, deliveries=1), 1),
        (OK, DOUBTFUL, 2),
    ],
)
def test_what_is_accounted_for_is_no_complaint(told: Told, stored: Stored | None, received: int) -> None:
    assert list(judged(told, stored, received).complaints()) == []


@pytest.mark.parametrize(
    ("told", "stored", "received", "complaint"),
    [
        (OK, None, 0, "missing"),
        (OK, Stored("n2", "d1", DeliveryState.SENT, deliveries=1), 1, "missing"),
        (OK, Stored("n1"), 0, "unfinished"),
        (OK, Stored("n1", "d1", DeliveryState.LEASED, deliveries=1), 0, "unfinished"),
        (UNKNOWN, Stored("n1", "d1", DeliveryState.READY, deliveries=1), 0, "unfinished"),
        (OK, SENT, 0, "unreceived"),
        (OK, Stored("n1", "d1", DeliveryState.FAILED, Reason.REFUSED, deliveries=1), 1, "unrecorded"),
        (UNKNOWN, None, 1, "unrecorded"),
        (REFUSED, SENT, 1, "revived"),
        (OK, Stored("n1", "d1", DeliveryState.SENT, deliveries=2), 1, "split"),
        (OK, SENT, 2, "not flagged"),
        (CODE, DOUBTFUL, 2, "at-most-once"),
    ],
)
def test_each_contradiction_is_a_complaint(told: Told, stored: Stored | None, received: int, complaint: str) -> None:
    complaints = " ".join(judged(told, stored, received).complaints())

    assert complaint in complaints


def test_messages_of_no_event_are_a_complaint() -> None:
    assert list(check(Evidence({}, {}, {}, foreign=1)).complaints()) == ["1 messages belong to no event"]


def test_duplicates_are_counted_with_their_phase() -> None:
    verdict = judged(OK, DOUBTFUL, 3)

    assert [(duplicate.times, duplicate.flagged, duplicate.phase) for duplicate in verdict.duplicates] == [
        (3, True, "main")
    ]
    assert verdict.lost == 0
