import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from clarion_channels.mail.receipt import Malformed, Unauthentic
from clarion_channels.providers.ses.receipts import receipts
from clarion_channels.providers.ses.sns import (
    Envelope,
    Kind,
    certificate_url,
    confirmation_url,
    parse,
    verify,
)
from clarion_channels.receipt import News
from clarion_kit.vocabulary import Receipt

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem"
KEY = rsa.generate_private_key(65537, 2048)


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = KEY) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(7).not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=1))
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def call(message: str = "{}", version: str = "1", **changes: object) -> bytes:
    """A notification as SNS writes it, the canonical string written out by hand."""
    fields: dict[str, object] = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": "2026-01-02T00:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    }
    canonical = (
        f"Message\n{message}\nMessageId\n22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324\n"
        "Subject\nAmazon SES Email Event Notification\nTimestamp\n2026-01-02T00:00:00.000Z\n"
        f"TopicArn\n{TOPIC}\nType\nNotification\n"
    )
    fields["Signature"] = _sign(canonical, version)
    return json.dumps(fields | changes).encode()


def confirmation(**changes: object) -> bytes:
    url = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
    canonical = (
        "Message\nYou have chosen to subscribe\nMessageId\n165545c9\n"
        f"SubscribeURL\n{url}\nTimestamp\n2026-01-02T00:00:00.000Z\nToken\n2336412f37\n"
        f"TopicArn\n{TOPIC}\nType\nSubscriptionConfirmation\n"
    )
    fields: dict[str, object] = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe",
        "SubscribeURL": url,
        "Timestamp": "2026-01-02T00:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": _sign(canonical, "1"),
        "SigningCertURL": CERTIFICATE_URL,
    }
    return json.dumps(fields | changes).encode()


def _sign(canonical: str, version: str) -> str:
    digest = SHA1() if version == "1" else SHA256()
    return base64.b64encode(KEY.sign(canonical.encode(), padding.PKCS1v15(), digest)).decode()


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_the_signature_verify(version: str) -> None:
    verify(parse(call("Zoë\n", version)), certificate(), NOW)


def test_a_confirmation_verifies_and_names_its_url_for_a_known_topic() -> None:
    envelope = parse(confirmation())
    verify(envelope, certificate(), NOW)
    assert envelope.kind is Kind.SUBSCRIPTION
    assert confirmation_url(envelope, {TOPIC}).startswith("https://sns.eu-west-1.amazonaws.com/?Action=")
    assert receipts(envelope) == ()
    with pytest.raises(Unauthentic, match="topic"):
        confirmation_url(envelope, {"arn:aws:sns:eu-west-1:123456789012:other"})


def test_a_notification_is_no_confirmation() -> None:
    with pytest.raises(Unauthentic):
        confirmation_url(parse(call()), {TOPIC})


@pytest.mark.parametrize(
    "change",
    [
        {"Message": "{} "},
        {"MessageId": "other"},
        {"Subject": None},
        {"Timestamp": "2026-01-03T00:00:00.000Z"},
        {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:other"},
        {"Type": "UnsubscribeConfirmation"},
        {"SignatureVersion": "2"},
        {"SignatureVersion": "3"},
        {"Signature": "not base64!"},
        {"Signature": ""},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_altered_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Unauthentic):
        verify(parse(json.dumps(json.loads(call()) | change).encode()), certificate(), NOW)


def test_a_certificate_that_is_over_of_another_kind_or_none_is_refused() -> None:
    envelope = parse(call())
    for pem, now in (
        (certificate(), NOW + timedelta(days=2)),
        (certificate(ec.generate_private_key(ec.SECP256R1())), NOW),
        (certificate(rsa.generate_private_key(65537, 2048)), NOW),
        (b"-----BEGIN CERTIFICATE-----", NOW),
    ):
        with pytest.raises(Unauthentic):
            verify(envelope, pem, now)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/a.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/a.pem",
        "https://evil@sns.eu-west-1.amazonaws.com/a.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://sns.eu-west-1.amazonaws.com:x/a.pem",
        "https://s3.eu-west-1.amazonaws.com/a.pem",
        "https://sns.amazonaws.com/a.pem",
        "https://evil.example\\@sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a\r\n.pem",
        "https://sns.eu-west-1.amazonaws.com/a.sh",
        "https://[::1/a.pem",
        "",
    ],
)
def test_a_certificate_is_fetched_from_sns_alone(url: str) -> None:
    with pytest.raises(Unauthentic):
        certificate_url(parse(call(SigningCertURL=url)))
    with pytest.raises(Unauthentic):
        confirmation_url(parse(confirmation(SubscribeURL=url.removesuffix(".sh") + "@" * url.endswith(".sh"))), set())


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "ap-northeast-2"])
def test_a_certificate_of_any_region_may_be_fetched(region: str) -> None:
    url = f"https://sns.{region}.amazonaws.com/SimpleNotificationService-1.pem"
    assert certificate_url(parse(call(SigningCertURL=url))) == url
    china = "https://sns.cn-north-1.amazonaws.com.cn/a.pem"
    assert certificate_url(parse(call(SigningCertURL=china))) == china


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"Type": "Notification"}', b"[" * 100_000, b" " * (1 << 20)], ids=range(6)
)
def test_what_is_no_envelope_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


def event(kind: str, name: str = "", **detail: object) -> str:
    document: dict[str, object] = {
        "eventType": kind,
        "mail": {
            "messageId": "EXAMPLE7c191be45",
            "destination": ["anna@example.org"],
            "headers": [{"name": "Message-ID", "value": f"<{DELIVERY}@example.com>"}],
            "tags": {"ses:configuration-set": ["main"], "clarion_delivery_id": [str(DELIVERY)]},
        },
    }
    if name:
        document[name] = {"timestamp": "2026-01-02T00:00:00.000Z", **detail}
    return json.dumps(document)


def bounced(kind: str, subtype: str) -> str:
    recipient = {"emailAddress": "anna@example.org", "status": "5.1.1", "diagnosticCode": "550 <anna@example.org> no"}
    return event("Bounce", "bounce", bounceType=kind, bounceSubType=subtype, bouncedRecipients=[recipient])


def complaint(kind: str) -> str:
    recipient = {"emailAddress": "anna@example.org"}
    return event("Complaint", "complaint", complaintFeedbackType=kind, complainedRecipients=[recipient])


# Typed from AWS's reference of the contents of event data.
@pytest.mark.parametrize(
    ("message", "receipt", "news", "code"),
    [
        (event("Send", "send"), None, None, "Send"),
        (event("Delivery", "delivery", recipients=["anna@example.org"]), Receipt.DELIVERED, News.ARRIVED, "Delivery"),
        (event("DeliveryDelay", "deliveryDelay", delayType="MailboxFull"), None, None, "DeliveryDelay:MailboxFull"),
        *(
            (bounced("Permanent", subtype), Receipt.UNDELIVERED, News.HARD_BOUNCE, f"Bounce:Permanent:{subtype}:5.1.1")
            for subtype in ("General", "NoEmail", "Suppressed", "OnAccountSuppressionList")
        ),
        *(
            (bounced("Transient", subtype), Receipt.UNDELIVERED, News.SOFT_BOUNCE, f"Bounce:Transient:{subtype}:5.1.1")
            for subtype in ("General", "MailboxFull", "MessageTooLarge", "ContentRejected", "AttachmentRejected")
        ),
        (
            bounced("Undetermined", "Undetermined"),
            *(Receipt.UNDELIVERED, News.SOFT_BOUNCE, "Bounce:Undetermined:Undetermined:5.1.1"),
        ),
        (complaint("abuse"), Receipt.DELIVERED, News.COMPLAINT, "Complaint:abuse"),
        (complaint("virus"), Receipt.DELIVERED, News.COMPLAINT, "Complaint:virus"),
        (event("Reject", "reject", reason="Bad content"), Receipt.UNDELIVERED, None, "Reject"),
        (event("Rendering Failure", "failure"), Receipt.UNDELIVERED, None, ""),
        (event("Open", "open"), Receipt.SEEN, None, "Open"),
        (event("Click", "click"), Receipt.CLICKED, None, "Click"),
    ],
)
def test_every_event_has_its_meaning(message: str, receipt: Receipt | None, news: News | None, code: str) -> None:
    [found] = receipts(parse(call(message)))
    assert (found.receipt, found.news, found.code) == (receipt, news, code)
    assert (found.delivery_id, found.ids) == (DELIVERY, ("example7c191be45",))


def test_each_recipient_that_an_event_names_has_a_receipt() -> None:
    twice = [{"emailAddress": "anna@example.org"}, {"emailAddress": "bob@example.org", "status": "5.1.1"}]
    message = event("Bounce", "bounce", bounceType="Permanent", bouncedRecipients=twice)
    assert [receipt.code for receipt in receipts(parse(call(message)))] == [
        "Bounce:Permanent",
        "Bounce:Permanent:5.1.1",
    ]


def test_without_a_tag_the_message_id_names_the_delivery() -> None:
    document = json.loads(event("Delivery"))
    del document["mail"]["tags"]
    [receipt] = receipts(parse(call(json.dumps(document))))
    assert receipt.delivery_id == DELIVERY
    del document["mail"]["headers"]
    [receipt] = receipts(parse(call(json.dumps(document))))
    assert (receipt.delivery_id, receipt.ids, receipt.empty) == (None, ("example7c191be45",), False)


def test_feedback_notifications_of_an_identity_are_read_as_well() -> None:
    document = json.loads(bounced("Permanent", "General"))
    document["notificationType"] = document.pop("eventType")
    [receipt] = receipts(parse(call(json.dumps(document))))
    assert receipt.news is News.HARD_BOUNCE


@pytest.mark.parametrize("message", [complaint("not-spam"), event("Subscription"), event("Something new")])
def test_what_says_nothing_of_a_delivery_gives_no_receipt(message: str) -> None:
    assert receipts(parse(call(message))) == ()


@pytest.mark.parametrize("message", ["", "Successfully validated SNS topic", "{}", '{"mail": 7}', "[" * 50_000])
def test_a_notification_of_somebody_else_is_malformed(message: str) -> None:
    envelope = parse(call(message))
    assert isinstance(envelope, Envelope)
    with pytest.raises(Malformed):
        receipts(envelope)
