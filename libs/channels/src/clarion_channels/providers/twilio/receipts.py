"""Twilio's status callbacks: is a call Twilio's, and what does it say. Pure, for whoever serves the callback.

Callbacks are not ordered and may repeat: apply them by rank. Source: Twilio, "Outbound message status in status
callbacks", "Validating requests are coming from Twilio".
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import parse_qsl

from clarion_channels.errortable import ErrorTable
from clarion_channels.providers.twilio.answer import code_news
from clarion_channels.receipt import News, ProviderReceipt, normalise_id
from clarion_kit.vocabulary import Receipt

SIGNATURE_HEADER = "X-Twilio-Signature"
MAX_FIELDS = 100

Fields = Sequence[tuple[str, str]]
"""The fields of a form, in any order."""


class Forged(Exception):
    """The call is not signed with the account's auth token for this URL."""


class Malformed(ValueError):
    """The call is no status callback."""


class Status(StrEnum):
    """MessageStatus of an outbound message."""

    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    PARTIALLY_DELIVERED = "partially_delivered"
    CANCELED = "canceled"
    FAILED = "failed"
    UNDELIVERED = "undelivered"
    DELIVERED = "delivered"
    READ = "read"

    @property
    def receipt(self) -> Receipt | None:
        """What it makes of the delivery, None while it is on its way."""
        return _RECEIPTS.get(self)


_RECEIPTS = {
    Status.CANCELED: Receipt.UNDELIVERED,
    Status.FAILED: Receipt.UNDELIVERED,
    Status.UNDELIVERED: Receipt.UNDELIVERED,
    Status.DELIVERED: Receipt.DELIVERED,
    Status.READ: Receipt.SEEN,
}


def read_form(body: bytes) -> Fields:
    """The fields of a callback's body; raises `Malformed`."""
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Malformed("the body is no form") from error


def verify(url: str, fields: Fields, signature: str, auth_token: str) -> None:
    """Check X-Twilio-Signature: base64 of HMAC-SHA1 over the URL and the sorted fields, names and values joined.

    `url` is the public one that `StatusCallback` gave, whatever a proxy made of it. Raises `Forged`.
    """
    if not auth_token:
        raise Forged("no auth token is configured")
    signed = url + "".join(name + value for name, value in sorted(set(fields)))
    expected = hmac.new(auth_token.encode(), signed.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        given = b""
    if not hmac.compare_digest(expected, given):
        raise Forged("wrong signature")


def parse(fields: Fields, errors: ErrorTable) -> ProviderReceipt:
    """The receipt in a callback's fields, its `code` Twilio's error code; raises `Malformed`."""
    values = dict(fields)
    sid, error_code = values.get("MessageSid", ""), values.get("ErrorCode", "")
    if not (sid.isascii() and sid.isalnum() and len(sid) <= 64):
        raise Malformed("no message SID")
    if error_code and not (error_code.isascii() and error_code.isdecimal() and len(error_code) <= 8):
        raise Malformed("the error code is no number")
    try:
        status = Status(values.get("MessageStatus", ""))
    except ValueError as error:
        raise Malformed("no known message status") from error
    code = "" if error_code == "0" else error_code
    return ProviderReceipt((normalise_id(sid),), status.receipt, code, news=_news(status, code, errors))


def _news(status: Status, code: str, errors: ErrorTable) -> News | None:
    if status.receipt is None:
        return None
    if status.receipt is not Receipt.UNDELIVERED:
        return News.ARRIVED
    return code_news(errors, code) if code else None
