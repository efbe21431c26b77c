"""Calls as providers sign them, written from their documents and not with our own code."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from clarion_kit.errors import Unavailable
from clarion_tracker.ports import Account, BodyTooLarge, Request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
APP, OTHER_APP = 3, 4
TWILIO_LANE, HUAWEI_LANE, SENDGRID_LANE, SES_LANE, OTHER_TWILIO_LANE = 11, 12, 13, 14, 15
TWILIO_TOKEN, OTHER_TWILIO_TOKEN, HUAWEI_KEY, HUAWEI_USER = "t" * 32, "o" * 32, "huawei key", "user"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
CONFIRM_URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
FORM, JSON, TEXT = "application/x-www-form-urlencoded", "application/json", "text/plain; charset=UTF-8"


class Bytes:
    """A body of the fake world, in one piece."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def read(self, limit: int) -> bytes:
        if len(self.content) > limit:
            raise BodyTooLarge
        return self.content


def twilio_url(lane: int = TWILIO_LANE) -> str:
    return f"https://t.example.com/v1/callbacks/twilio/{lane}"


def twilio_account(lane: int = TWILIO_LANE, token: str = TWILIO_TOKEN, app: int = APP) -> tuple[str, Account]:
    document = {
        "account_sid": "AC" + "0" * 32,
        "auth_token": token,
        "sender": "+15005550006",
        "status_callback": twilio_url(lane),
    }
    return "twilio", Account(app, lane, 1, json.dumps(document).encode())


def huawei_account() -> tuple[str, Account]:
    document = {
        "client_id": "1",
        "client_secret": "s",
        "callback_user": HUAWEI_USER,
        "callback_key": HUAWEI_KEY,
    }
    return "huawei", Account(APP, HUAWEI_LANE, 1, json.dumps(document).encode())


SENDGRID_KEY = ec.generate_private_key(ec.SECP256R1())


def sendgrid_account() -> tuple[str, Account]:
    spki = SENDGRID_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    document = {"api_key": "k", "webhook_public_key": base64.b64encode(spki).decode()}
    return "sendgrid", Account(APP, SENDGRID_LANE, 1, json.dumps(document).encode())


def ses_account() -> tuple[str, Account]:
    return "ses", Account(APP, SES_LANE, 1, json.dumps({"region": "eu-west-1", "topic_arns": [TOPIC]}).encode())


def request(kind: str, lane: object, body: bytes, headers: Mapping[str, str], query: str = "") -> Request:
    lower = {name.lower(): value for name, value in headers.items()}
    return Request("POST", f"/v1/callbacks/{kind}/{lane}", query=query, headers=lower, body=Bytes(body))


def twilio_call(
    fields: Mapping[str, str],
    *,
    lane: int = TWILIO_LANE,
    token: str = TWILIO_TOKEN,
    to: int | None = None,
    query: str = "",
) -> Request:
    """`to`: the account that is called, if not the one it was signed for."""
    url = twilio_url(lane) + (f"?{query}" if query else "")
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    signature = base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
    headers = {"Content-Type": FORM, "X-Twilio-Signature": signature}
    return request("twilio", to or lane, urlencode(fields).encode(), headers, query)


def huawei_call(statuses: Sequence[Mapping[str, object]], *, at: datetime = NOW, nonce: str = "n1") -> Request:
    timestamp = str(int(at.timestamp() * 1000))
    value = hmac.new(HUAWEI_KEY.encode(), f"{timestamp}{nonce}{HUAWEI_USER}".encode(), hashlib.sha256).digest()
    header = f"timestamp={timestamp}; nonce={nonce}; value={base64.b64encode(value).decode()}"
    body = json.dumps({"statuses": list(statuses)}).encode()
    return request("huawei", HUAWEI_LANE, body, {"Content-Type": JSON, "X-HUAWEI-CALLBACK-ID": header})


def sendgrid_call(events: Sequence[Mapping[str, object]], *, at: datetime = NOW) -> Request:
    body, timestamp = json.dumps(list(events)).encode(), str(int(at.timestamp()))
    signature = SENDGRID_KEY.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    headers = {
        "Content-Type": JSON,
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
    }
    return request("sendgrid", SENDGRID_LANE, body, headers)


class Sns:
    """Amazon's side: a key, its certificate, and what was fetched from it."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=365))
            .sign(self._key, SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)
        self.fetched: list[str] = []
        self.away = False

    async def fetch(self, url: str) -> bytes:
        if self.away:
            raise Unavailable("sns")
        self.fetched.append(url)
        return self.pem

    def call(
        self,
        message: Mapping[str, object] | None = None,
        *,
        kind: str = "Notification",
        topic: str = TOPIC,
        at: datetime = NOW,
        message_id: str = "m1",
        certificate_url: str = CERTIFICATE_URL,
        subscribe_url: str = CONFIRM_URL,
    ) -> Request:
        fields = {
            "Message": json.dumps(message or {}),
            "MessageId": message_id,
            "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "TopicArn": topic,
            "Type": kind,
        }
        if kind != "Notification":
            fields |= {"SubscribeURL": subscribe_url, "Token": "t"}
        signed = "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields)).encode()
        signature = self._key.sign(signed, padding.PKCS1v15(), SHA256())
        envelope = fields | {
            "SignatureVersion": "2",
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": certificate_url,
        }
        return request("ses", SES_LANE, json.dumps(envelope).encode(), {"Content-Type": TEXT})


def ses_event(kind: str, delivery_id: UUID, **detail: object) -> dict[str, object]:
    return {
        "eventType": kind,
        "mail": {
            "messageId": "0102",
            "destination": ["anna@example.com"],
            "tags": {"clarion_delivery_id": [str(delivery_id)]},
        },
        kind.lower(): {"timestamp": "2026-03-01T11:00:00.000Z", **detail},
    }
