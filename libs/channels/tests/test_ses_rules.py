import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome
from clarion_channels.providers.ses import payload
from clarion_channels.providers.ses.answer import classify
from clarion_channels.providers.ses.payload import TooLarge, build_body
from clarion_channels.providers.ses.sigv4 import AwsKey, Scope, sign

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")

# AWS's published test suite for Signature Version 4.
SUITE_KEY = AwsKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SUITE_TIME = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "names", "signature"),
    [
        ("GET", "/", {}, b"", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", {}, b"", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            *("GET", "/?Param2=value2&Param1=value1", {}, b"", "host;x-amz-date"),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            *("GET", "/?Param1=value2&Param1=Value1", {}, b"", "host;x-amz-date"),
            "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
        ),
        (
            *("POST", "/", {"my-header1": "value1"}, b"", "host;my-header1;x-amz-date"),
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            *("POST", "/", FORM, b"Param1=value1", "content-type;host;x-amz-date"),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "query-order-key-case", "query-order-key", "header-key-sort", "form"],
)
def test_signature_is_that_of_the_published_suite(
    method: str, target: str, headers: dict[str, str], body: bytes, names: str, signature: str
) -> None:
    url = f"https://example.amazonaws.com{target}"
    signed = sign(SUITE_KEY, Scope("us-east-1", "service"), method, url, headers, body, SUITE_TIME)
    assert signed["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert signed["x-amz-date"] == "20150830T123600Z"


def test_the_token_of_a_temporary_key_is_sent_and_signed() -> None:
    key = AwsKey("AKIDEXAMPLE", "secret", "token")
    signed = sign(key, Scope("us-east-1", "ses"), "POST", "https://a.example/", {}, b"", SUITE_TIME)
    assert signed["x-amz-security-token"] == "token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in signed["authorization"]


def test_the_default_port_is_no_part_of_the_signed_host() -> None:
    def of(url: str) -> str:
        return sign(SUITE_KEY, Scope("us-east-1", "ses"), "POST", url, {}, b"", SUITE_TIME)["authorization"]

    assert of("https://a.example:443/") == of("https://a.example/")
    assert of("https://a.example:8443/") != of("https://a.example/")


def test_the_key_does_not_show_its_secret() -> None:
    assert "wJalr" not in repr(SUITE_KEY)


def test_request_carries_mail_envelope_tags_and_configuration_set() -> None:
    body = build_body(b"From: a@b.c\r\n\r\nHi", "a@b.c", "anna@example.org", DELIVERY, "main", {"team": "shop"})
    document = json.loads(body)
    assert b64decode(document["Content"]["Raw"].pop("Data")) == b"From: a@b.c\r\n\r\nHi"
    assert document == {
        "FromEmailAddress": "a@b.c",
        "Destination": {"ToAddresses": ["anna@example.org"]},
        "Content": {"Raw": {}},
        "ConfigurationSetName": "main",
        "EmailTags": [
            {"Name": "team", "Value": "shop"},
            {"Name": "clarion_delivery_id", "Value": "0192f0c1-7a3b-7cde-8f01-23456789abcd"},
        ],
    }
    assert "ConfigurationSetName" not in json.loads(build_body(b"", "a@b.c", "d@e.f", DELIVERY, "", {}))


def test_a_mail_of_the_limit_is_sent_and_one_byte_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert payload.MAX_MAIL_BYTES == 40 * 1024 * 1024
    monkeypatch.setattr(payload, "MAX_MAIL_BYTES", 100)
    build_body(b"x" * 100, "a@b.c", "d@e.f", DELIVERY, "", {})
    with pytest.raises(TooLarge, match="101 bytes"):
        build_body(b"x" * 101, "a@b.c", "d@e.f", DELIVERY, "", {})


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("ses")


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome", "code"),
    [
        (400, {}, b'{"__type": "com.amazonaws.ses#MessageRejected"}', Outcome.BAD, "400:MessageRejected"),
        (400, {"x-amzn-errortype": "MessageRejected:http://a/"}, b"", Outcome.BAD, "400:MessageRejected"),
        (418, {"x-amzn-errortype": "Teapot"}, b"", Outcome.BAD, "unlisted:418:Teapot"),
        (403, {}, b"<html>", Outcome.CRED, "unlisted:403"),
        (429, {}, b"", Outcome.THROTTLE, "unlisted:429"),
        (502, {}, b"<html>", Outcome.RETRY, "unlisted:502"),
        (302, {}, b"", Outcome.BAD, "unlisted:302"),
    ],
)
def test_answers_that_are_odd_have_a_class(
    table: ErrorTable, status: int, headers: dict[str, str], body: bytes, outcome: Outcome, code: str
) -> None:
    result = classify(table, HttpAnswer(status, headers, body), NOW)
    assert (result.outcome, result.code) == (outcome, code)


def test_retry_after_of_whatever_stands_before_ses_is_a_floor(table: ErrorTable) -> None:
    result = classify(table, HttpAnswer(503, {"retry-after": "7"}, b""), NOW)
    assert (result.outcome, result.retry_after) == (Outcome.AFTER, timedelta(seconds=7))


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_accepted_answer_without_an_id_is_accepted_all_the_same(table: ErrorTable, body: bytes) -> None:
    result = classify(table, HttpAnswer(200, {}, body), NOW)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "")


def test_detail_names_no_address(table: ErrorTable) -> None:
    body = b'{"message": "Address anna@example.org is on the list"}'
    assert classify(table, HttpAnswer(400, {}, body), NOW).detail == "Address (address) is on the list"
