import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clarion_channels.mail.receipt import Malformed, Unauthentic
from clarion_channels.providers.sendgrid.receipts import MAX_EVENTS, parse, parse_key, verify
from clarion_channels.receipt import News
from clarion_kit.vocabulary import Receipt

# SendGrid's own example of a signed call.
KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/"
    "1FwCM/QmGUhA=="
)
TIMESTAMP = "1588788367"
BODY = b'{"category":"example_payload","event":"test_event","message_id":"message_id"}'
SIGNATURE = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0="
THEN = datetime.fromtimestamp(int(TIMESTAMP), UTC)
DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")


def test_the_published_example_verifies() -> None:
    verify(parse_key(KEY), SIGNATURE, TIMESTAMP, BODY, THEN)


@pytest.mark.parametrize(
    ("signature", "timestamp", "body"),
    [
        (SIGNATURE, TIMESTAMP, BODY + b" "),
        (SIGNATURE, "1588788368", BODY),
        (SIGNATURE[:-8] + "AAAAAAA=", TIMESTAMP, BODY),
        ("", TIMESTAMP, BODY),
        ("not base64!", TIMESTAMP, BODY),
        (SIGNATURE, "", BODY),
        (SIGNATURE, "soon", BODY),
        (SIGNATURE, TIMESTAMP, b" " * (5 << 20)),
    ],
    ids=["body", "timestamp", "signature", "none", "no base64", "no timestamp", "no number", "too big"],
)
def test_anything_altered_is_refused(signature: str, timestamp: str, body: bytes) -> None:
    with pytest.raises(Unauthentic):
        verify(parse_key(KEY), signature, timestamp, body, THEN)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_call_beyond_five_minutes_is_a_replay(seconds: int) -> None:
    with pytest.raises(Unauthentic, match="timestamp"):
        verify(parse_key(KEY), SIGNATURE, TIMESTAMP, BODY, THEN + timedelta(seconds=seconds))
    verify(parse_key(KEY), SIGNATURE, TIMESTAMP, BODY, THEN + timedelta(seconds=seconds // 2))


def _spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zzz",
        "A" * 2000,
        _spki(ec.generate_private_key(ec.SECP384R1()).public_key()),
        _spki(rsa.generate_private_key(65537, 2048).public_key()),
    ],
    ids=["empty", "no base64", "long", "P-384", "RSA"],
)
def test_only_a_p256_key_is_a_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_key(text)


def event(kind: str, **more: object) -> dict[str, object]:
    return {
        "event": kind,
        "sg_event_id": f"event-{kind}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "smtp-id": "<0192f0c1-7a3b-7cde-8f01-23456789abcd@example.com>",
        "timestamp": 1588788367,
        "email": "anna@example.org",
        "clarion_delivery_id": str(DELIVERY),
        **more,
    }


# Typed from SendGrid's reference of events.
@pytest.mark.parametrize(
    ("entry", "receipt", "news"),
    [
        (event("processed"), None, None),
        (event("deferred", response="450 later"), None, None),
        (event("delivered"), Receipt.DELIVERED, News.ARRIVED),
        (event("bounce", type="bounce", status="5.1.1"), Receipt.UNDELIVERED, News.HARD_BOUNCE),
        (event("bounce", type="blocked", status="5.7.1"), Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        (event("dropped", reason="Bounced Address"), Receipt.UNDELIVERED, News.HARD_BOUNCE),
        (event("dropped", reason="Invalid"), Receipt.UNDELIVERED, News.HARD_BOUNCE),
        (event("dropped", reason="Invalid SMTPAPI header"), Receipt.UNDELIVERED, None),
        (event("dropped", reason="Spam Reporting Address"), Receipt.UNDELIVERED, News.COMPLAINT),
        (event("dropped", reason="Unsubscribed Address"), Receipt.UNDELIVERED, News.UNSUBSCRIBED),
        (event("dropped", reason="Recipient List over Package Quota"), Receipt.UNDELIVERED, None),
        (event("open"), Receipt.SEEN, None),
        (event("open", sg_machine_open=True), None, None),
        (event("click"), Receipt.CLICKED, None),
        (event("spamreport"), Receipt.DELIVERED, News.COMPLAINT),
        (event("unsubscribe"), Receipt.DELIVERED, News.UNSUBSCRIBED),
        (event("group_unsubscribe"), Receipt.DELIVERED, News.UNSUBSCRIBED),
    ],
    ids=lambda value: (
        str(value.get("reason") or value.get("type") or value["event"]) if isinstance(value, dict) else ""
    ),
)
def test_every_event_has_its_meaning(entry: dict[str, object], receipt: Receipt | None, news: News | None) -> None:
    [found] = parse(json.dumps([entry]).encode()).receipts
    assert (found.receipt, found.news, found.empty) == (receipt, news, receipt is None)
    assert (found.delivery_id, found.ids, found.at) == (DELIVERY, (), THEN)


def test_a_faulty_or_foreign_event_hides_no_other() -> None:
    entries = [7, {}, event("delivered", timestamp="soon"), event("group_resubscribe"), event("delivered")]
    events = parse(json.dumps(entries).encode())
    assert ([receipt.receipt for receipt in events.receipts], events.ignored) == ([Receipt.DELIVERED], 4)


def test_an_event_of_another_sender_names_no_delivery() -> None:
    [receipt] = parse(json.dumps([event("delivered", clarion_delivery_id="7")]).encode()).receipts
    assert receipt.delivery_id is None
    assert receipt.empty


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000, b"[" + b"1," * MAX_EVENTS + b"1]"])
def test_a_body_that_is_no_bounded_array_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)
