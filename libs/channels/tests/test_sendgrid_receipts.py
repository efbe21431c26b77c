import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clarion_channels.mail.receipt import Bounce, Event, Malformed, Suppression, Unauthentic
from clarion_channels.providers.sendgrid.receipts import MAX_EVENTS, parse, parse_key, verify

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
    ("entry", "meaning", "bounce", "suppression"),
    [
        (event("processed"), Event.ACCEPTED, None, None),
        (event("deferred", response="450 later"), Event.DELAYED, None, None),
        (event("delivered"), Event.DELIVERED, None, None),
        (event("bounce", type="bounce", status="5.1.1"), Event.BOUNCED, Bounce.HARD, None),
        (event("bounce", type="blocked", status="5.7.1"), Event.BOUNCED, Bounce.SOFT, None),
        (event("dropped", reason="Bounced Address"), Event.REJECTED, Bounce.HARD, None),
        (event("dropped", reason="Invalid"), Event.REJECTED, Bounce.HARD, None),
        (event("dropped", reason="Invalid SMTPAPI header"), Event.REJECTED, None, None),
        (event("dropped", reason="Spam Reporting Address"), Event.REJECTED, None, Suppression.COMPLAINT),
        (event("dropped", reason="Unsubscribed Address"), Event.REJECTED, None, Suppression.UNSUBSCRIBE),
        (event("dropped", reason="Recipient List over Package Quota"), Event.REJECTED, None, None),
        (event("open"), Event.OPENED, None, None),
        (event("click"), Event.CLICKED, None, None),
        (event("spamreport"), Event.COMPLAINED, None, Suppression.COMPLAINT),
        (event("unsubscribe"), Event.UNSUBSCRIBED, None, Suppression.UNSUBSCRIBE),
        (event("group_unsubscribe"), Event.UNSUBSCRIBED, None, Suppression.UNSUBSCRIBE),
    ],
    ids=lambda value: (
        str(value.get("reason") or value.get("type") or value["event"]) if isinstance(value, dict) else ""
    ),
)
def test_every_event_has_its_meaning(
    entry: dict[str, object], meaning: Event, bounce: Bounce | None, suppression: Suppression | None
) -> None:
    [receipt] = parse(json.dumps([entry]).encode()).receipts
    assert (receipt.event, receipt.bounce, receipt.suppression) == (meaning, bounce, suppression)
    assert (receipt.delivery_id, receipt.provider_message_id) == (DELIVERY, "14c5d75ce93")
    assert (receipt.recipient, receipt.occurred_at) == ("anna@example.org", THEN)


def test_an_open_by_a_machine_is_marked() -> None:
    [machine, person] = parse(
        json.dumps([event("open", sg_machine_open=True), event("open", sg_machine_open=False)]).encode()
    ).receipts
    assert (machine.machine, person.machine) == (True, False)


def test_a_faulty_or_foreign_event_hides_no_other() -> None:
    entries = [
        7,
        {},
        event("delivered", sg_event_id=""),
        event("delivered", timestamp="soon"),
        event("group_resubscribe"),
        event("delivered"),
    ]
    events = parse(json.dumps(entries).encode())
    assert ([receipt.event for receipt in events.receipts], events.ignored) == ([Event.DELIVERED], 5)


def test_an_event_of_another_sender_names_no_delivery() -> None:
    [receipt] = parse(json.dumps([event("delivered", clarion_delivery_id="7")]).encode()).receipts
    assert receipt.delivery_id is None
    assert receipt.message_id == f"{DELIVERY}@example.com"


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000, b"[" + b"1," * MAX_EVENTS + b"1]"])
def test_a_body_that_is_no_bounded_array_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


def test_detail_names_no_address() -> None:
    [receipt] = parse(json.dumps([event("bounce", reason="550 <anna@example.org> unknown")]).encode()).receipts
    assert receipt.detail == "550 (address) unknown"
