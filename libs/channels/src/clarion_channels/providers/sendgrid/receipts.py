"""SendGrid's Event Webhook: its signature, and its events as receipts. Pure.

Source: www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features and
.../tracking-events/event. Events repeat and come in any order.
"""

import binascii
import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.mail.receipt import DELIVERY_ID, Event, Malformed, Unauthentic, delivery_id_of, mail_receipt
from clarion_channels.receipt import News, ProviderReceipt

SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
REPLAY_WINDOW = timedelta(seconds=300)
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_EVENTS = 10_000

_MAX_KEY = 1024


def parse_key(text: str) -> ec.EllipticCurvePublicKey:
    """The webhook's public key as SendGrid shows it: base64 of its SubjectPublicKeyInfo. Raises `ValueError`."""
    if len(text) > _MAX_KEY:
        raise ValueError("not a P-256 public key in base64")
    key = load_der_public_key(b64decode(text, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 public key in base64")
    return key


def verify(key: ec.EllipticCurvePublicKey, signature: str, timestamp: str, body: bytes, now: datetime) -> None:
    """Raise `Unauthentic` unless the two headers sign exactly this body, within five minutes of `now`."""
    if len(body) > MAX_BODY_BYTES:
        raise Unauthentic("the body is too big")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise Unauthentic("the timestamp is not in Unix seconds")
    try:
        given = b64decode(signature, validate=True)
        key.verify(given, timestamp.encode("ascii") + body, ec.ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature) as error:
        raise Unauthentic("the signature does not fit") from error
    if abs(now.timestamp() - int(timestamp)) > REPLAY_WINDOW.total_seconds():
        raise Unauthentic("the timestamp is too far from now")


@dataclass(frozen=True, slots=True)
class Events:
    """The receipts of one call, and how many events were of kinds that say nothing of a delivery, or malformed."""

    receipts: tuple[ProviderReceipt, ...]
    ignored: int


def parse(body: bytes) -> Events:
    """The events of one call. Raises `Malformed` when the body is no JSON array; a faulty event hides no other."""
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("the body is no JSON") from error
    if not isinstance(entries, list) or len(entries) > MAX_EVENTS:
        raise Malformed(f"the body is no array of at most {MAX_EVENTS} events")
    receipts = [receipt for entry in entries if (receipt := _receipt(entry)) is not None]
    return Events(tuple(receipts), len(entries) - len(receipts))


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event: str
    timestamp: int = Field(default=0, ge=0, le=1 << 36)
    type: str = ""
    reason: str = ""
    status: str = Field(default="", max_length=32)
    sg_machine_open: bool = False
    delivery_id: str = Field(default="", validation_alias=DELIVERY_ID)


@dataclass(frozen=True, slots=True)
class _Meaning:
    event: Event
    news: News | None = None


def _bounce(event: _Event) -> _Meaning:
    """`blocked` is a refusal for now: policy, content, reputation. Anything else condemns the address."""
    return _Meaning(Event.BOUNCED, News.SOFT_BOUNCE if event.type == "blocked" else News.HARD_BOUNCE)


def _dropped(event: _Event) -> _Meaning:
    """SendGrid's own suppression lists say why."""
    reason = event.reason.casefold()
    if reason.startswith("bounced address") or reason == "invalid":
        return _Meaning(Event.REJECTED, News.HARD_BOUNCE)
    if reason.startswith("spam reporting address"):
        return _Meaning(Event.REJECTED, News.COMPLAINT)
    if reason.startswith("unsubscribed address"):
        return _Meaning(Event.REJECTED, News.UNSUBSCRIBED)
    return _Meaning(Event.REJECTED)


_MEANINGS: dict[str, Callable[[_Event], _Meaning]] = {
    "processed": lambda event: _Meaning(Event.ACCEPTED),
    "deferred": lambda event: _Meaning(Event.DELAYED),
    "delivered": lambda event: _Meaning(Event.DELIVERED),
    "bounce": _bounce,
    "dropped": _dropped,
    "open": lambda event: _Meaning(Event.OPENED),
    "click": lambda event: _Meaning(Event.CLICKED),
    "spamreport": lambda event: _Meaning(Event.COMPLAINED),
    "unsubscribe": lambda event: _Meaning(Event.UNSUBSCRIBED),
    "group_unsubscribe": lambda event: _Meaning(Event.UNSUBSCRIBED),
}


def _receipt(entry: object) -> ProviderReceipt | None:
    """Named by our own id alone: SendGrid's is that of a whole call, which may be a batch of mails."""
    try:
        event = _Event.model_validate(entry)
    except ValidationError:
        return None
    mean = _MEANINGS.get(event.event)
    if mean is None:
        return None
    meaning = mean(event)
    return mail_receipt(
        meaning.event,
        delivery_id=delivery_id_of(event.delivery_id),
        news=meaning.news,
        machine=event.sg_machine_open,
        code=_code(event),
        at=datetime.fromtimestamp(event.timestamp, UTC) if event.timestamp else None,
    )


def _code(event: _Event) -> str:
    return ":".join(part for part in (event.event, event.type, event.status) if part and part.isprintable())[:64]
