"""SMSCs: deliver_sm as the SMS dispatcher stored them, receipts and messages that people wrote."""

import re

from clarion_channels.errortable import ErrorTable
from clarion_channels.providers.smpp.codec import Address, CodecError, DeliverSm, ShortMessage, Tag, decode
from clarion_channels.providers.smpp.receipt import NotAReceipt, parse_receipt
from clarion_channels.text import gsm7
from clarion_tracker.inbound import Reading, Result, Said
from clarion_tracker.words import Words

KIND = "smpp.deliver_sm"
RECEIPT_TABLE = "smpp_receipts"
"""The error table that carriers' codes in receipts are looked up in."""

_HAS_HEADER = 0x40
_MAYBE_INTERNATIONAL = frozenset({0, 1})
"""Types of number: unknown, international."""
_DIGITS = re.compile(r"\+?([1-9][0-9]{6,14})")
_MAX_BYTES = 256
"""Words are short; longer messages are not decoded."""

_GSM7 = frozenset({0x00, *range(0x10, 0x14), *range(0xF0, 0xF4)})
_UCS2 = frozenset({0x08, *range(0x18, 0x1C)})
_ASCII, _LATIN1 = 0x01, 0x03


class Reader:
    """Reads rows of `KIND`."""

    def __init__(self, words: Words, errors: ErrorTable) -> None:
        self._words = words
        self._errors = errors

    def __call__(self, body: bytes) -> Reading:
        try:
            return (parse_receipt(body, self._errors),)
        except NotAReceipt:
            return self._said(body)
        except CodecError:
            return Result.MALFORMED

    def _said(self, body: bytes) -> Reading:
        deliver = decode(body)
        if not isinstance(deliver, DeliverSm):
            return Result.MALFORMED
        command = self._words.command(text_of(deliver.message))
        return Result.MESSAGE if command is None else Said(_number(deliver.message.source), command)


def text_of(message: ShortMessage) -> str:
    """The text of a short message, "" where it is binary, cannot be decoded, or is too long to be looked at."""
    octets = message.short_message or message.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")
    if message.esm_class & _HAS_HEADER and octets:
        octets = octets[1 + octets[0] :]
    if len(octets) > _MAX_BYTES:
        return ""
    coding = message.data_coding
    try:
        if coding in _GSM7:
            return gsm7.decode(octets)
        if coding in _UCS2:
            return octets.decode("utf-16-be")
        if coding == _ASCII:
            return octets.decode("ascii")
        return octets.decode("latin-1") if coding == _LATIN1 else ""
    except ValueError:
        return ""


def _number(source: Address) -> str:
    """E.164, as far as it can be told; "" for a number that only its own country knows, and for a name.

    Many carriers leave the type unknown and mean an international number: whether it is one is checked where it is kept.
    """
    digits = _DIGITS.fullmatch(source.digits)
    return f"+{digits[1]}" if digits is not None and source.ton in _MAYBE_INTERNATIONAL else ""
