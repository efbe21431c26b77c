"""From a text to the submit_sm bodies that carry it. Pure."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from clarion.types.v1.channel_pb2 import Priority
from clarion_channels.port import Message
from clarion_channels.providers.smpp.codec import Address, ShortMessage, Tag
from clarion_channels.providers.smpp.settings import SmppSettings
from clarion_channels.text.gsm7 import is_gsm7, transliterate
from clarion_channels.text.references import References
from clarion_channels.text.segments import Alphabet, ReferenceBits, split, user_data_header

_UCS2 = 0x08
_UDHI = 0x40
_FINAL_RECEIPT = 1
_E164 = re.compile(r"\+([1-9][0-9]{6,14})")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_MAX_ALPHANUMERIC = 11


class Unsendable(ValueError):
    """The message cannot be put into SMPP; the text names the reason, never the content or the number."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The submit_sm bodies of one message, in order, under one `reference` where there are several."""

    segments: tuple[ShortMessage, ...]
    reference: int | None = None


def build_segments(message: Message, settings: SmppSettings, references: References, now: datetime) -> Submission:
    """The bodies of one message. Raises `Unsendable` and `text.segments.TooManyParts`."""
    text = message.content.sms.text
    if not text:
        raise Unsendable("no text")
    if settings.transliterate and is_gsm7(plain := transliterate(text)):
        text = plain
    segmented = split(text, reference_bits=_room_for(settings), max_parts=settings.max_segments)
    total = len(segmented.parts)
    whole = ShortMessage(
        source=source_address(settings),
        destination=destination_address(message.address.sms.e164),
        priority_flag=1 if message.priority == Priority.PRIORITY_URGENT else 0,
        validity_period=validity_period(min(message.expire_at, now + settings.max_validity)),
        registered_delivery=_FINAL_RECEIPT,
        data_coding=_UCS2 if segmented.alphabet is Alphabet.UCS2 else settings.default_alphabet_coding,
        tlvs={Tag.USER_MESSAGE_REFERENCE: (message.delivery_id.int & 0xFFFF).to_bytes(2, "big")},
    )
    if total == 1:
        return Submission((replace(whole, short_message=segmented.parts[0]),))
    reference = references.take(message.address.sms.e164, message.delivery_id)
    numbered = _sar if settings.concatenation == "sar" else _with_header
    return Submission(
        tuple(
            numbered(whole, part, reference, total, number, settings.reference_bits)
            for number, part in enumerate(segmented.parts, start=1)
        ),
        reference,
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


def _room_for(settings: SmppSettings) -> ReferenceBits:
    """Whose header each part leaves room for. With SAR the SMSC writes it, and may take the longer one."""
    return 16 if settings.concatenation == "sar" else settings.reference_bits


def _with_header(
    whole: ShortMessage, part: bytes, reference: int, total: int, number: int, bits: ReferenceBits
) -> ShortMessage:
    return replace(whole, esm_class=_UDHI, short_message=user_data_header(reference, total, number, bits) + part)


def _sar(
    whole: ShortMessage, part: bytes, reference: int, total: int, number: int, bits: ReferenceBits
) -> ShortMessage:
    numbering: dict[int, bytes] = {
        Tag.SAR_REFERENCE: reference.to_bytes(2, "big"),
        Tag.SAR_TOTAL: bytes([total]),
        Tag.SAR_SEQUENCE: bytes([number]),
    }
    return replace(whole, short_message=part, tlvs={**whole.tlvs, **numbering})
