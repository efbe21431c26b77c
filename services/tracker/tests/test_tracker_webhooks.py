"""Webhooks by rule: what is posted, signed and tried again."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_client.webhooks import verify
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason, Receipt
from clarion_ledger.webhooks import new_secret, shown_secret
from clarion_tracker.changes import Wanted
from clarion_tracker.positions import Position
from clarion_tracker.webhooks import (
    GIVE_UP_AFTER,
    LONGEST_PAUSE,
    Again,
    Answer,
    Disabled,
    Hook,
    Lost,
    batch_of,
    body_of,
    headers_of,
    judge,
    sample_of,
    sign,
)

from .tracker_feed_samples import APP, START, change

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = new_secret()
HOOK = Hook(7, APP, "shop", "orders", 1, 1, "https://hooks.example.com/", (SECRET,), Wanted(), Position(3, 1, START))
ANSWERS = st.builds(
    Answer,
    st.integers(100, 599).filter(lambda status: not 200 <= status < 300),
    retry_after=st.one_of(st.none(), st.timedeltas(timedelta(0), timedelta(days=9))),
)


def test_signature_is_that_of_the_standards_own_example() -> None:
    """standard-webhooks.md and the libraries beside it sign these."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    found = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.integers(1, 3))
def test_every_live_secret_verifies_what_is_posted(body: bytes, count: int) -> None:
    document = json.dumps(base64.b64encode(body).decode()).encode()
    secrets = [new_secret() for _ in range(count)]

    headers = headers_of("msg_1", secrets, NOW, document)

    for secret in secrets:
        post = verify(document, headers, shown_secret(secret), now=NOW.timestamp())
        assert (post.message_id, post.document) == ("msg_1", json.loads(document))


def test_body_tells_each_change_by_its_own_id_and_in_words() -> None:
    read = change(
        5, 2, kind=EventKind.RECEIPT, receipt=Receipt.SEEN, channel=Channel.EMAIL, delivery_id=UUID(int=9), code="250"
    )
    accepted = change(4, kind=EventKind.ACCEPTED, delivery_id=None, channel=None, state=None)
    batch = batch_of(HOOK, [accepted, read], read.position)

    document = json.loads(body_of(HOOK, batch))

    assert document["type"] == "deliveries.changed"
    assert document["timestamp"] == "2026-03-01T12:00:05.000Z"
    assert {name: document["data"][name] for name in ("app", "webhook")} == {"app": "shop", "webhook": "orders"}
    assert document["data"]["changes"] == [
        {
            "id": "4-1",
            "at": "2026-03-01T12:00:04.000Z",
            "kind": "accepted",
            "notification_id": str(UUID(int=4)),
            "event_id": "e4",
            "category": "orders",
        },
        {
            "id": "5-2",
            "at": "2026-03-01T12:00:05.000Z",
            "kind": "receipt",
            "notification_id": str(UUID(int=5)),
            "event_id": "e5",
            "category": "orders",
            "delivery_id": str(UUID(int=9)),
            "channel": "email",
            "state": "sent",
            "receipt": "seen",
            "provider": "apns",
            "code": "250",
            "attempt": 1,
        },
    ]


def test_words_of_a_newer_version_are_told_by_their_numbers() -> None:
    newer = change(5, kind=EventKind(99), state=DeliveryState(98), reason=Reason(97), channel=Channel(96))

    [told] = json.loads(body_of(HOOK, batch_of(HOOK, [newer], newer.position)))["data"]["changes"]

    assert [told[name] for name in ("kind", "state", "reason", "channel")] == [
        "unknown_99",
        "unknown_98",
        "unknown_97",
        "unknown_96",
    ]


def test_gap_is_told_in_the_next_body() -> None:
    lost = Lost(START, START + timedelta(days=2))
    one = change(5)

    document = json.loads(body_of(HOOK, batch_of(replace(HOOK, lost=lost), [one], one.position)))

    assert document["data"]["lost"] == {"since": "2026-03-01T12:00:00.000Z", "until": "2026-03-03T12:00:00.000Z"}


def test_same_batch_has_the_same_id_and_body_and_another_one_has_not() -> None:
    one, other = change(5), change(6)
    first, again = (batch_of(HOOK, [one], one.position) for _ in range(2))
    longer = batch_of(HOOK, [one, other], other.position)

    assert (first.message_id, body_of(HOOK, first)) == (again.message_id, body_of(HOOK, again))
    assert longer.message_id != first.message_id
    assert batch_of(replace(HOOK, webhook_id=8), [one], one.position).message_id != first.message_id


def test_sample_has_the_form_of_a_body() -> None:
    document = json.loads(sample_of(HOOK, NOW))

    assert (document["type"], document["data"]["changes"]) == ("webhook.test", [])


@given(ANSWERS, st.integers(1, 10_000), st.timedeltas(timedelta(0), GIVE_UP_AFTER - timedelta(seconds=1)))
def test_what_was_not_taken_is_tried_again_within_an_hour(answer: Answer, tries: int, failing_for: timedelta) -> None:
    verdict = judge(answer, tries, failing_for)

    if answer.status == 410:
        assert verdict is Disabled.GONE
    else:
        assert isinstance(verdict, Again)
        assert timedelta(0) <= verdict.pause <= LONGEST_PAUSE


@pytest.mark.parametrize(("tries", "seconds"), [(1, 10), (2, 20), (5, 160), (10, 3600), (1000, 3600)])
def test_pause_is_drawn_from_a_bound_that_doubles(tries: int, seconds: float) -> None:
    verdict = judge(Answer(500), tries, timedelta(0), draw=lambda least, most: most)

    assert verdict == Again(timedelta(seconds=seconds))


def test_receiver_may_ask_for_more_time() -> None:
    verdict = judge(Answer(429, retry_after=timedelta(minutes=5)), 1, timedelta(0), draw=lambda least, most: 0.0)

    assert verdict == Again(timedelta(minutes=5))


@given(ANSWERS)
def test_three_days_of_failures_switch_it_off(answer: Answer) -> None:
    assert judge(answer, 100, GIVE_UP_AFTER) in (Disabled.FAILING, Disabled.GONE)


def test_hook_shows_no_secret_and_no_url() -> None:
    assert "hooks.example.com" not in repr(HOOK)
    assert repr(SECRET) not in repr(HOOK)
