import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clarion.types.v1.address_pb2 import Address, WebSubscription
from clarion.types.v1.channel_pb2 import PRIORITY_BULK, PRIORITY_NORMAL, PRIORITY_URGENT, Priority
from clarion.types.v1.content_pb2 import PushContent, WebOptions
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome
from clarion_channels.providers.webpush.answer import classify
from clarion_channels.providers.webpush.encryption import InvalidKeys, encrypt
from clarion_channels.providers.webpush.endpoint import KNOWN_SERVICES, AllowedHosts, ForbiddenEndpoint
from clarion_channels.providers.webpush.payload import request_headers, topic
from clarion_channels.providers.webpush.vapid import MAX_ORIGINS, Vapid, load_vapid_key
from clarion_channels.public_hosts import is_public
from clarion_channels.push.web import build_plaintext

from .h2_peer import pem_of
from .push_messages import push_message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BROWSER = Address(web=WebSubscription(endpoint="https://fcm.googleapis.com/x"))

# RFC 8291, appendix A.
RFC_PLAINTEXT = b"When I grow up, I want to be a watermelon"
RFC_SENDER_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RFC_P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
RFC_AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
RFC_SALT = bytes.fromhex("0c6bfaadad67958803092d454676f397")
RFC_BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_y"
    "l95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_encryption_gives_the_bytes_of_the_rfc() -> None:
    body = encrypt(RFC_PLAINTEXT, RFC_P256DH, RFC_AUTH, salt=RFC_SALT, ephemeral_key=load_vapid_key(RFC_SENDER_KEY))
    assert urlsafe_b64encode(body).rstrip(b"=").decode() == RFC_BODY


def test_largest_plaintext_fills_4096_bytes_and_nothing_repeats() -> None:
    first, second = (encrypt(b"x" * 3993, RFC_P256DH, RFC_AUTH) for _ in range(2))
    assert len(first) == 4096
    assert first[:16] != second[:16], "salt"
    assert first[21:86] != second[21:86], "ephemeral key"


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [("", RFC_AUTH), ("AAAA", RFC_AUTH), (RFC_P256DH[:-4] + "AAAA", RFC_AUTH), (RFC_P256DH, "AAAA"), ("é", RFC_AUTH)],
)
def test_subscription_with_unusable_keys_is_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(InvalidKeys):
        encrypt(b"x", p256dh, auth)


def test_vapid_header_is_signed_for_the_origin_and_cached_for_hours() -> None:
    now = [1_700_000_000.0]
    key = ec.generate_private_key(ec.SECP256R1())
    vapid = Vapid(key, "mailto:ops@example.com", lambda: now[0])
    header = vapid.header("https://push.example.com")
    token = header.removeprefix("vapid t=").partition(", k=")[0]
    assert jwt.decode(
        token,
        key.public_key(),
        algorithms=["ES256"],
        audience="https://push.example.com",
        options={"verify_exp": False},
    ) == {"aud": "https://push.example.com", "exp": 1_700_043_200, "sub": "mailto:ops@example.com"}
    now[0] += 6 * 3600 - 1
    assert vapid.header("https://push.example.com") == header
    now[0] += 1
    assert vapid.header("https://push.example.com") != header


def test_vapid_cache_is_bounded() -> None:
    vapid = Vapid(ec.generate_private_key(ec.SECP256R1()), "mailto:ops@example.com", lambda: 1_700_000_000.0)
    for number in range(MAX_ORIGINS + 10):
        vapid.header(f"https://{number}.example.com")
    assert len(vapid._headers) == MAX_ORIGINS


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "-----BEGIN PRIVATE KEY-----"])
def test_vapid_key_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_vapid_key(text)


def test_vapid_key_is_taken_as_pem_too() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert load_vapid_key(pem_of(key)).private_numbers() == key.private_numbers()


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc", "https://fcm.googleapis.com"),
        ("https://FCM.googleapis.com:443/x", "https://fcm.googleapis.com"),
        ("https://updates.push.services.mozilla.com/wpush/v2/x", "https://updates.push.services.mozilla.com"),
        ("https://wns2-par02p.notify.windows.com/w/?token=x", "https://wns2-par02p.notify.windows.com"),
        ("https://web.push.apple.com/QABC", "https://web.push.apple.com"),
        ("https://push.example.com:8443/x", "https://push.example.com:8443"),
    ],
)
def test_endpoint_of_an_allowed_service_has_its_origin(endpoint: str, origin: str) -> None:
    assert str(AllowedHosts([*KNOWN_SERVICES, "push.example.com:8443"]).origin_of(endpoint)) == origin


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evilfcm.googleapis.com/x",
        "https://notify.windows.com/x",
        "https://.notify.windows.com/x",
        "https://a..notify.windows.com/x",
        "https://fcm.googleapis.com@127.0.0.1/x",
        "https://user@fcm.googleapis.com/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::1/x",
        "https://fcm.googleapis.com:99999/x",
        "https://fcm.googleapis.com\\@evil.example/x",
        "https://fcm.googleapis.com/x\r\nhost: evil",
        "https://fcm.googleapis.com/ x",
        "https://fcm.googleapis.com/x#y",
        "https://\uff46cm.googleapis.com/x",
        "https://fcm.googleapis.com./x",
        "https://fcm.googleapis.com/" + "x" * 2048,
        "file:///etc/passwd",
    ],
)
def test_endpoint_outside_the_allow_list_is_refused(endpoint: str) -> None:
    with pytest.raises(ForbiddenEndpoint):
        AllowedHosts(KNOWN_SERVICES).origin_of(endpoint)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2a00:1450:4001:81b::200a", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_service_worker_gets_the_arguments_of_show_notification() -> None:
    push = PushContent(
        title="Order 7",
        body="is on its way",
        image_url="https://example.com/a.png",
        link="https://example.com/orders/7",
        data={"order": "7"},
        web=WebOptions(icon_url="https://example.com/i.png", tag="order-7", require_interaction=True),
    )
    assert json.loads(build_plaintext(push, "the-id")) == {
        "title": "Order 7",
        "options": {
            "body": "is on its way",
            "icon": "https://example.com/i.png",
            "image": "https://example.com/a.png",
            "tag": "order-7",
            "requireInteraction": True,
            "data": {"order": "7", "clarion_delivery_id": "the-id", "clarion_link": "https://example.com/orders/7"},
        },
    }


@pytest.mark.parametrize(
    ("priority", "urgency"), [(PRIORITY_URGENT, "high"), (PRIORITY_NORMAL, "normal"), (PRIORITY_BULK, "low")]
)
def test_priority_becomes_urgency(priority: Priority.ValueType, urgency: str) -> None:
    assert request_headers(push_message(BROWSER, priority=priority), NOW)["urgency"] == urgency


@pytest.mark.parametrize(
    ("left", "ttl"),
    [(timedelta(seconds=90.9), "90"), (timedelta(seconds=-5), "0"), (timedelta(days=60), "2419200")],
)
def test_deadline_becomes_ttl_within_what_services_keep(left: timedelta, ttl: str) -> None:
    assert request_headers(push_message(BROWSER, expire_at=NOW + left), NOW)["ttl"] == ttl


def test_collapse_key_becomes_a_topic_of_at_most_32_base64url_characters() -> None:
    assert topic("order-7_x") == "order-7_x"
    assert topic("order 7") == "D8ifiuGTlLSN69Y1O7mtM5PzvHkZMVGf"
    assert len(topic("x" * 33)) == 32
    assert "topic" not in request_headers(push_message(BROWSER), NOW)


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("webpush")


# Typed from RFC 8030 and the services' documentation, not read from the table.
@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        (400, b"", Outcome.BAD, "400"),
        (400, b'{"code": 400, "errno": 111, "error": "Bad Request"}', Outcome.BAD, "400:111"),
        (400, b'{"errno": 113}', Outcome.BAD, "400:113"),
        (400, b'{"reason": "BadWebPushTopic"}', Outcome.BAD, "400:BadWebPushTopic"),
        (400, b"UnauthorizedRegistration: the VAPID credentials do not correspond", Outcome.CRED, "400:vapid"),
        (403, b"invalid JWT provided", Outcome.CRED, "403:vapid"),
        (403, b'{"reason": "BadJwtToken"}', Outcome.CRED, "403:BadJwtToken"),
        (403, b'{"reason": "VapidPkHashMismatch"}', Outcome.DEAD, "403:VapidPkHashMismatch"),
        (400, b'{"reason": "VapidPkHashMismatch"}', Outcome.DEAD, "400:VapidPkHashMismatch"),
        (401, b"", Outcome.CRED, "401"),
        (401, b'{"errno": 109}', Outcome.CRED, "401:109"),
        (403, b"", Outcome.CRED, "403"),
        (404, b"", Outcome.DEAD, "404"),
        (410, b'{"errno": 103}', Outcome.DEAD, "410:103"),
        (413, b"", Outcome.BAD, "413"),
        (429, b"", Outcome.AFTER, "429"),
        (301, b"", Outcome.BAD, "301"),
        (307, b"", Outcome.BAD, "307"),
        (308, b"", Outcome.BAD, "308"),
        (500, b"", Outcome.RETRY, "500"),
        (503, b"<html>", Outcome.RETRY, "503"),
        (418, b"", Outcome.BAD, "unlisted:418"),
        (599, b"", Outcome.RETRY, "unlisted:599"),
    ],
)
def test_answer_has_its_class(table: ErrorTable, status: int, body: bytes, outcome: Outcome, code: str) -> None:
    result = classify(table, HttpAnswer(status, {}, body), (), NOW)
    assert (result.outcome, result.code) == (outcome, code)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_accepted_answer_carries_the_id_of_its_location(table: ErrorTable, status: int) -> None:
    answer = HttpAnswer(status, {"location": "https://push.example.com/m/abc123"}, b"")
    result = classify(table, answer, (), NOW)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "abc123")


@pytest.mark.parametrize(("status", "outcome"), [(429, Outcome.AFTER), (503, Outcome.AFTER), (410, Outcome.DEAD)])
def test_retry_after_is_a_floor_for_what_is_tried_again(table: ErrorTable, status: int, outcome: Outcome) -> None:
    result = classify(table, HttpAnswer(status, {"retry-after": "120"}, b""), (), NOW)
    assert result.outcome is outcome
    assert result.retry_after == (timedelta(seconds=120) if outcome is Outcome.AFTER else None)


def test_detail_never_repeats_the_subscription(table: ErrorTable) -> None:
    endpoint = "https://push.example.com/secret-registration"
    result = classify(table, HttpAnswer(500, {}, f"no such {endpoint}".encode()), (endpoint,), NOW)
    assert result.detail == "no such [removed]"
