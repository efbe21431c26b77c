"""`clarion_client.webhooks.verify`: only what Clarion signed, unchanged and fresh."""

import base64
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_client.webhooks import TOLERANCE, BadSignature, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_614_265_330
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(NOW),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""The standard's own example."""


def signed(body: bytes, timestamp: str = str(NOW), secret: str = SECRET) -> dict[str, str]:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"msg_1.{timestamp}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": timestamp, "Webhook-Signature": signature}


def test_the_standards_own_example_is_good() -> None:
    post = verify(BODY, HEADERS, SECRET, now=NOW)

    assert post.message_id == HEADERS["webhook-id"]
    assert post.document == {"test": 2432232314}


def test_one_of_several_signatures_is_enough() -> None:
    several = f"v1,AAAA v2,x v1a,x {HEADERS['webhook-signature']} v1,!"

    assert verify(BODY, {**HEADERS, "webhook-signature": several}, SECRET, now=NOW).message_id


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_what_was_signed_is_read(document: dict[str, int]) -> None:
    body = json.dumps(document).encode()

    assert verify(body, signed(body), SECRET, now=NOW).document == document


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_changed_body_is_refused(place: int, bits: int) -> None:
    changed = BODY[:place] + bytes([BODY[place] ^ bits]) + BODY[place + 1 :]

    with pytest.raises(BadSignature):
        verify(changed, HEADERS, SECRET, now=NOW)


@pytest.mark.parametrize("name", list(HEADERS))
@pytest.mark.parametrize("value", [None, "", "x", "1614265331", "v1,", "é", "v1," + "A" * 10_000])
def test_missing_or_changed_header_is_refused(name: str, value: str | None) -> None:
    headers = {**HEADERS, name: value} if value is not None else {k: v for k, v in HEADERS.items() if k != name}

    with pytest.raises(BadSignature):
        verify(BODY, headers, SECRET, now=NOW)


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_post_that_is_not_of_now_is_refused(seconds: int) -> None:
    assert verify(BODY, HEADERS, SECRET, now=NOW + TOLERANCE.total_seconds()).message_id
    with pytest.raises(BadSignature, match="timestamp"):
        verify(BODY, HEADERS, SECRET, now=NOW + seconds)


def test_post_signed_with_another_secret_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify(BODY, signed(BODY, secret="whsec_" + base64.b64encode(bytes(24)).decode()), SECRET, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_secret_that_is_none_is_a_mistake_of_the_caller(secret: str) -> None:
    with pytest.raises(ValueError, match="not a secret"):
        verify(BODY, HEADERS, secret, now=NOW)
