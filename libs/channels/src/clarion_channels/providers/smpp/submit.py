"""From a text to the submit_sm bodies that carry it. Pure."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from clarion.types.v1.channel_pb2 import Priority
from clarion_channels.port import Message
from clarion_channels.providers.smpp.codec import Address, ShortMessage, Tag
from clarion_channels.providers.smpp.settings import SmppSettings
from clarion_channels.text.gsm7 import is_gsm7, transliterate
from clarion_channels.text.segments import Alphabet, split, user_data_header

_UCS2 = 0x08
_UDHI = 0x40
_FINAL_RECEIPT = 1
_E164 = re.compile(r"\+([1-9][0-9]{6,14})")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_MAX_ALPHANUMERIC = 11


class Unsendable(ValueError):
    """The message cannot be put into SMPP; the text names the reason, never the content or the number."""


def build_segments(message: Message, settings: SmppSettings, now: datetime) -> tuple[ShortMessage, ...]:
    """The submit_sm bodies of one message, in order.

    The concatenation reference derives from the delivery id: parts of a second try complete those of the first on the
    phone. Raises `Unsendable` and `text.segments.TooManyParts`.
    """
    text = message.content.sms.text
    if not text:
        raise Unsendable("no text")
    if settings.transliterate and is_gsm7(plain := transliterate(text)):
        text = plain
    segmented = split(text, reference_bits=settings.reference_bits, max_parts=settings.max_segments)
    total = len(segmented.parts)
    whole = ShortMessage(
        source=source_address(settings),
        destination=destination_address(message.address.sms.e164),
        priority_flag=1 if message.priority == Priority.PRIORITY_URGENT else 0,
        validity_period=validity_period(min(message.expire_at, now + settings.max_validity)),
        registered_delivery=_FINAL_RECEIPT,
        data_coding=_UCS2 if segmented.alphabet is Alphabet.UCS2 else settings.default_alphabet_coding,
        tlvs={Tag.USER_MESSAGE_REFERENCE: _low_bits(message.delivery_id, 16).to_bytes(2, "big")},
    )
    if total == 1:
        return (replace(whole, short_message=segmented.parts[0]),)
    reference = _low_bits(message.delivery_id, settings.reference_bits)
    return tuple(
        replace(
            whole,
            esm_class=_UDHI,
            short_message=user_data_header(reference, total, number, settings.reference_bits) + part,
        )
        for number, part in enumerate(segmented.parts, start=1)
    )


def source_address(settings: SmppSettings) -> Address:
    """The sender: international (ton 1, npi 1), short code (ton 3, npi 0) or alphanumeric (ton 5, npi 0).

    Raises `Unsendable` for a sender of no such form, unless the settings fix type and plan.
    """
    source = settings.source
    if number := _E164.fullmatch(source):
        address = Address(1, 1, number[1])
    elif _SHORT_CODE.fullmatch(source):
        address = Address(3, 0, source)
    elif len(source) <= _MAX_ALPHANUMERIC or settings.source_ton is not None:
        address = Address(5, 0, source)
    else:
        raise Unsendable("an alphanumeric sender has at most 11 characters")
    return Address(
        address.ton if settings.source_ton is None else settings.source_ton,
        address.npi if settings.source_npi is None else settings.source_npi,
        address.digits,
    )


def destination_address(e164: str) -> Address:
    """An international number, without its "+". Raises `Unsendable`."""
    number = _E164.fullmatch(e164)
    if number is None:
        raise Unsendable("the address is no E.164 number")
    return Address(1, 1, number[1])


def validity_period(until: datetime) -> str:
    """`until` in SMPP's absolute time format (§7.1.1), in UTC, without tenths."""
    return until.astimezone(UTC).strftime("%y%m%d%H%M%S000+")


def _low_bits(identifier: UUID, bits: int) -> int:
    return identifier.int & ((1 << bits) - 1)
