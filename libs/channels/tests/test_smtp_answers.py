from datetime import timedelta

import pytest

from clarion_channels.errortable import load
from clarion_channels.outcome import Outcome
from clarion_channels.providers.smtp.answers import Reply, classify

TABLE = load("smtp")


@pytest.mark.parametrize(
    ("code", "text", "outcome"),
    [
        (421, "4.3.2 closing", Outcome.RETRY),
        (421, "too many connections", Outcome.RETRY),
        (451, "4.4.1 no answer from host", Outcome.RETRY),
        (450, "4.2.0 try later", Outcome.RETRY),
        (451, "4.3.0 local error", Outcome.RETRY),
        (451, "4.7.1 greylisted", Outcome.RETRY),
        (452, "4.2.2 over quota", Outcome.RETRY),
        (452, "4.3.1 no space", Outcome.RETRY),
        (421, "4.7.0 rate", Outcome.THROTTLE),
        (450, "4.7.28 rate", Outcome.THROTTLE),
        (454, "4.7.0 temporary authentication failure", Outcome.THROTTLE),
        (454, "Throttling failure: Maximum sending rate exceeded.", Outcome.THROTTLE),
        (530, "5.7.0 authentication required", Outcome.CRED),
        (534, "weak mechanism", Outcome.CRED),
        (535, "5.7.8 bad credentials", Outcome.CRED),
        (538, "encryption required", Outcome.CRED),
        (550, "5.1.1 no such user", Outcome.DEAD),
        (550, "5.1.2 bad domain", Outcome.DEAD),
        (553, "5.1.3 bad address syntax", Outcome.DEAD),
        (551, "5.1.6 moved", Outcome.DEAD),
        (556, "5.1.10 null MX", Outcome.DEAD),
        (550, "5.2.1 disabled", Outcome.DEAD),
        (552, "5.2.2 mailbox full", Outcome.RETRY),
        (552, "5.3.4 too big", Outcome.BAD),
        (554, "5.3.4 too big", Outcome.BAD),
        (554, "5.6.0 bad content", Outcome.BAD),
        (550, "5.7.1 policy", Outcome.CRED),
        (554, "5.7.1 looks like spam", Outcome.BAD),
        (550, "5.7.23 SPF", Outcome.CRED),
        (550, "5.7.20 DKIM", Outcome.CRED),
        (550, "5.7.26 unauthenticated", Outcome.CRED),
        (550, "5.7.25 no PTR", Outcome.CRED),
        (550, "5.4.1 relay denied", Outcome.CRED),
        (550, "5.7.54 relay denied", Outcome.CRED),
        (503, "5.5.1 bad sequence", Outcome.BAD),
        (501, "5.5.4 bad parameter", Outcome.BAD),
        (550, "no such user here", Outcome.BAD),
        (499, "odd", Outcome.RETRY),
        (599, "odd", Outcome.BAD),
        (354, "go on", Outcome.RETRY),
    ],
)
def test_replies_mean_what_the_reference_says(code: int, text: str, outcome: Outcome) -> None:
    assert classify(TABLE, Reply(code, text)).outcome is outcome


def test_enhanced_code_wins_over_the_basic_one() -> None:
    result = classify(TABLE, Reply(451, "4.7.28 slow down"))
    assert (result.outcome, result.code) == (Outcome.THROTTLE, "451:4.7.28")


def test_greylisting_carries_a_floor_of_five_minutes() -> None:
    assert classify(TABLE, Reply(451, "4.7.1 greylisted")).retry_after == timedelta(minutes=5)
    assert classify(TABLE, Reply(451, "4.3.0 local error")).retry_after is None


def test_accepted_mail_keeps_the_queue_id() -> None:
    result = classify(TABLE, Reply(250, "2.0.0 Ok: queued as 4F2A"))
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "Ok: queued as 4F2A")


def test_unlisted_codes_are_marked() -> None:
    assert classify(TABLE, Reply(599, "odd")).code == "unlisted:599"


def test_detail_is_short_printable_and_without_addresses() -> None:
    detail = classify(TABLE, Reply(550, "5.1.1 <anna@example.org>: unknown\n5.1.1 \x07see help " + "x" * 400)).detail
    assert detail.startswith("(address) unknown see help xxx")
    assert len(detail) == 256
    assert detail.isprintable()
