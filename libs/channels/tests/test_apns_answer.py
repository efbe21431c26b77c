import json
from datetime import UTC, datetime

import pytest

from clarion_channels.errortable import ErrorTable, load
from clarion_channels.outcome import Outcome
from clarion_channels.providers.apns.answer import Ending, classify, classify_ending, read_answer

TOKEN = "ab" * 32


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("apns")


# Typed from Apple's documentation of responses, not read from the table.
@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        ("400", "BadCollapseId", Outcome.BAD),
        ("400", "BadExpirationDate", Outcome.BAD),
        ("400", "BadMessageId", Outcome.BAD),
        ("400", "BadPriority", Outcome.BAD),
        ("400", "BadTopic", Outcome.BAD),
        ("400", "DuplicateHeaders", Outcome.BAD),
        ("400", "InvalidPushType", Outcome.BAD),
        ("400", "MissingDeviceToken", Outcome.BAD),
        ("400", "MissingTopic", Outcome.BAD),
        ("400", "PayloadEmpty", Outcome.BAD),
        ("400", "BadDeviceToken", Outcome.DEAD),
        ("400", "DeviceTokenNotForTopic", Outcome.DEAD),
        ("400", "TopicDisallowed", Outcome.CRED),
        ("400", "IdleTimeout", Outcome.RETRY),
        ("403", "ExpiredProviderToken", Outcome.RETRY),
        ("403", "InvalidProviderToken", Outcome.CRED),
        ("403", "MissingProviderToken", Outcome.CRED),
        ("403", "UnrelatedKeyIdInToken", Outcome.CRED),
        ("403", "BadEnvironmentKeyIdInToken", Outcome.CRED),
        ("403", "BadCertificate", Outcome.CRED),
        ("403", "BadCertificateEnvironment", Outcome.CRED),
        ("403", "Forbidden", Outcome.CRED),
        ("404", "BadPath", Outcome.BAD),
        ("405", "MethodNotAllowed", Outcome.BAD),
        ("410", "Unregistered", Outcome.DEAD),
        ("410", "ExpiredToken", Outcome.DEAD),
        ("413", "PayloadTooLarge", Outcome.BAD),
        ("429", "TooManyRequests", Outcome.THROTTLE),
        ("429", "TooManyProviderTokenUpdates", Outcome.THROTTLE),
        ("500", "InternalServerError", Outcome.RETRY),
        ("503", "ServiceUnavailable", Outcome.RETRY),
        ("503", "Shutdown", Outcome.RETRY),
    ],
)
def test_documented_reason_has_its_class(table: ErrorTable, status: str, reason: str, outcome: Outcome) -> None:
    body = json.dumps({"reason": reason}).encode()
    result = classify(table, read_answer("id", status, body, TOKEN))
    assert (result.outcome, result.code) == (outcome, f"{status}:{reason}")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("400", Outcome.BAD),
        ("403", Outcome.CRED),
        ("410", Outcome.DEAD),
        ("418", Outcome.BAD),
        ("429", Outcome.THROTTLE),
        ("502", Outcome.RETRY),
        ("302", Outcome.BAD),
        ("banana", Outcome.RETRY),
    ],
)
def test_unknown_reason_falls_into_its_range_and_is_marked(table: ErrorTable, status: str, outcome: Outcome) -> None:
    result = classify(table, read_answer("id", status, b'{"reason": "SomethingNew"}', TOKEN))
    assert result.outcome is outcome
    assert result.code.startswith("unlisted:")


def test_success_carries_the_id(table: ErrorTable) -> None:
    result = classify(table, read_answer("the-id", "200", b"", TOKEN))
    assert (result.outcome, result.provider_message_id, result.code) == (Outcome.ACCEPTED, "the-id", "")


def test_gone_tells_since_when(table: ErrorTable) -> None:
    body = b'{"reason": "Unregistered", "timestamp": 1700000000123}'
    assert classify(table, read_answer("id", "410", body, TOKEN)).dead_since == datetime(
        2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC
    )


@pytest.mark.parametrize("timestamp", ["9" * 30, '"soon"', "null", "1.5"])
def test_unusable_timestamp_is_left_out(table: ErrorTable, timestamp: str) -> None:
    body = f'{{"reason": "Unregistered", "timestamp": {timestamp}}}'.encode()
    result = classify(table, read_answer("id", "410", body, TOKEN))
    assert (result.outcome, result.dead_since) == (Outcome.DEAD, None)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", ""),
        (b"<html>\n <h1>Bad gateway</h1></html>", "<html> <h1>Bad gateway</h1></html>"),
        (b'{"reason": "Inter', '{"reason": "Inter'),
        (b"[1]", "[1]"),
        (b"\xff\xfe" + TOKEN.encode(), "[removed]"),
        (b"x" * 1000, "x" * 256),
    ],
    ids=["empty", "html", "cut off", "no object", "binary with the token", "long"],
)
def test_body_that_is_not_apples_json_is_shown_without_the_token(table: ErrorTable, body: bytes, detail: str) -> None:
    result = classify(table, read_answer("id", "503", body, TOKEN))
    assert (result.outcome, result.code) == (Outcome.RETRY, "unlisted:503")
    assert detail in result.detail
    assert TOKEN not in result.detail


@pytest.mark.parametrize(
    ("ending", "cause", "outcome"),
    [
        (Ending.UNPROCESSED, "rst:7", Outcome.RETRY),
        (Ending.UNPROCESSED, "goaway:Shutdown", Outcome.RETRY),
        (Ending.UNPROCESSED, "goaway:BadCertificate", Outcome.CRED),
        (Ending.UNPROCESSED, "goaway:TooManyProviderTokenUpdates", Outcome.THROTTLE),
        (Ending.UNPROCESSED, "goaway:Unregistered", Outcome.RETRY),
        (Ending.LOST, "rst:2", Outcome.UNKNOWN),
        (Ending.LOST, "timeout", Outcome.UNKNOWN),
        (Ending.LOST, "connection_lost", Outcome.UNKNOWN),
    ],
)
def test_end_without_a_status_is_unknown_only_if_the_request_may_have_been_taken(
    table: ErrorTable, ending: Ending, cause: str, outcome: Outcome
) -> None:
    result = classify_ending(table, ending, cause)
    assert (result.outcome, result.code) == (outcome, cause)
