"""Records of deliveries that no provider was asked for, and a peer's words as they are stored."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.outcomes import (
    MAX_CODE,
    abandoned,
    clean,
    expired,
    given_back,
    held,
    postponed,
    receipt_keys,
    unreadable,
)
from clarion_channels.outcome import Outcome, Result
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.dispatching import Record

from .claimed_sample import CLAIMED as SAMPLE

CLAIMED = replace(SAMPLE, attempt=2)
REST = timedelta(seconds=9)


@pytest.mark.parametrize(
    ("record", "state", "reason"),
    [
        (expired(CLAIMED), DeliveryState.EXPIRED, Reason.DEADLINE_PASSED),
        (held(CLAIMED, "lane stopped"), DeliveryState.HELD, None),
        (given_back(CLAIMED), DeliveryState.READY, None),
        (postponed(CLAIMED, REST), DeliveryState.RETRY_WAIT, None),
    ],
)
def test_delivery_that_only_waits_or_ends_burns_no_attempt(
    record: Record, state: DeliveryState, reason: Reason | None
) -> None:
    assert (record.state, record.reason, record.tried, record.duration) == (state, reason, False, None)


def test_postponed_delivery_rests_as_long_as_it_is_told() -> None:
    assert postponed(CLAIMED, REST).delay == REST


def test_unreadable_delivery_is_poison_at_once() -> None:
    record = unreadable(CLAIMED, "Unsealable")

    assert (record.state, record.reason, record.code) == (
        DeliveryState.DEAD_LETTERED,
        Reason.POISON,
        "unreadable: Unsealable",
    )


@pytest.mark.parametrize(
    ("attempt", "to_blame", "state", "tried"),
    [
        (2, True, DeliveryState.RETRY_WAIT, True),
        (3, True, DeliveryState.DEAD_LETTERED, True),
        (2, False, DeliveryState.RETRY_WAIT, False),
        (3, False, DeliveryState.RETRY_WAIT, False),
    ],
)
def test_delivery_whose_sending_broke_off_is_poison_only_by_its_own_fault(
    attempt: int, to_blame: bool, state: DeliveryState, tried: bool
) -> None:
    record = abandoned(replace(CLAIMED, attempt=attempt), to_blame=to_blame, rest=REST)

    assert (record.state, record.tried) == (state, tried)
    assert record.delay == (REST if state is DeliveryState.RETRY_WAIT else timedelta(0))


@given(st.text(st.characters(codec=None, exclude_categories=())), st.integers(0, MAX_CODE))
def test_any_word_of_a_peer_can_be_stored(text: str, limit: int) -> None:
    stored = clean(text, limit)

    assert len(stored) <= limit
    assert "\0" not in stored
    assert stored.encode().decode() == stored


@pytest.mark.parametrize(
    ("ids", "keys"),
    [
        ((), ()),
        (("",), ("",)),
        (("ABC-1",), ("7:abc-1",)),
        (("0000001A",), ("7:1a",)),
        (("000",), ("7:0",)),
        (("first", "second", " 42 "), ("7:first", "7:second", "7:42")),
        (("first", "", ""), ("7:first", "", "")),
    ],
)
def test_receipt_keys_are_the_ids_without_their_decoration(ids: tuple[str, ...], keys: tuple[str, ...]) -> None:
    assert receipt_keys(7, Result(Outcome.ACCEPTED, receipt_ids=ids)) == keys


def test_message_without_receipts_has_no_key() -> None:
    assert receipt_keys(7, Result(Outcome.ACCEPTED, provider_message_id="m1")) == ()
    assert Result(Outcome.ACCEPTED, provider_message_id="m1").with_receipts().receipt_ids == ("m1",)
    assert Result(Outcome.RETRY, provider_message_id="m1").with_receipts().receipt_ids == ()
