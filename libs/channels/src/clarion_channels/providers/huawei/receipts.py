"""Push Kit's message receipts: is a call Huawei's, and what does it say. Pure, for whoever serves the callback.

Receipts are merged, not ordered, and may repeat: apply them by rank. Source: HMS Core, "Sending Receipts for Downlink
Messages" (receipt versions 1 and 2).
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.providers.huawei.answer import message_id
from clarion_channels.receipt import News, ProviderReceipt, normalise_id
from clarion_kit.vocabulary import Receipt

HEADER = "X-HUAWEI-CALLBACK-ID"
ANSWER = b'{"code":"0","message":"success"}'
"""What Huawei wants to read (application/json) once the receipts are stored."""
MAX_AGE = timedelta(minutes=5)
"""How far the signed time may be from ours. The body is not signed: the shorter, the less a stolen header is good for."""
MAX_STATUSES = 1000

_DELIVERED = 0
_DEAD = frozenset({2, 5})
"""App not installed; token of another user of the device."""


class Forged(Exception):
    """The call is not signed as Huawei signs, or too long ago."""


class Malformed(ValueError):
    """The body is no list of receipts."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Delivery(_Lenient):
    result: int = Field(ge=0, le=99_999)
    timestamp: int = Field(ge=0, le=10**14)


class _Status(_Lenient):
    """One status in either version: flat in 1, with `deliveryStatus` in 2."""

    token: str = Field(min_length=1, max_length=4096)
    request_id: str = Field(alias="requestId", min_length=1, max_length=128)
    status: int | None = Field(default=None, ge=0, le=99_999)
    timestamp: int = Field(default=0, ge=0, le=10**14)
    delivery: _Delivery | None = Field(default=None, alias="deliveryStatus")


class _Body(_Lenient):
    statuses: tuple[_Status, ...] = Field(max_length=MAX_STATUSES)


def verify(header: str, user: str, key: str, now: datetime, max_age: timedelta = MAX_AGE) -> None:
    """Check the value of `HEADER`: base64 of HMAC-SHA256 over timestamp, nonce and the callback user.

    Raises `Forged`. `user` and `key` are those of the receipt configuration.
    """
    if not key:
        raise Forged("no callback key is configured")
    fields = _fields(header)
    timestamp, nonce = fields.get("timestamp", ""), fields.get("nonce", "")
    expected = hmac.new(key.encode(), f"{timestamp}{nonce}{user}".encode(), hashlib.sha256).digest()
    try:
        given = base64.b64decode(fields.get("value", ""), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    if not hmac.compare_digest(expected, given):
        raise Forged("wrong signature")
    if not timestamp.isdecimal() or len(timestamp) > 14:
        raise Forged("no time")
    if abs(now - _moment(int(timestamp))) > max_age:
        raise Forged("signed too long ago")


def identity(header: str) -> str:
    """What one call was signed by, however its header is written: spaces, order and letters that base64 leaves out are not
    signed, so the same signature has many headers."""
    fields = _fields(header)
    return fields.get("timestamp", "") + fields.get("nonce", "")


def _fields(header: str) -> dict[str, str]:
    return dict(part.strip().partition("=")[::2] for part in header.split(";"))


def parse(body: bytes) -> Sequence[ProviderReceipt]:
    """The receipts of a call, each for one token's message; raises `Malformed`. What is not about delivery (widgets) is left
    out. Their `code` is Huawei's status."""
    try:
        statuses = _Body.model_validate_json(body).statuses
    except ValidationError as error:
        raise Malformed(f"no list of statuses: {error.error_count()} faults") from error
    return [receipt for status in statuses if (receipt := _receipt(status)) is not None]


def _receipt(status: _Status) -> ProviderReceipt | None:
    if status.delivery is not None:
        result, timestamp = status.delivery.result, status.delivery.timestamp
    elif status.status is not None:
        result, timestamp = status.status, status.timestamp
    else:
        return None
    return ProviderReceipt(
        (normalise_id(message_id(status.request_id, status.token)),),
        Receipt.DELIVERED if result == _DELIVERED else Receipt.UNDELIVERED,
        str(result),
        news=News.DEAD if result in _DEAD else None,
        at=_moment(timestamp),
    )


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
