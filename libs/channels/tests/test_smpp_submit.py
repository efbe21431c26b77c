from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address as RecipientAddress
from clarion.types.v1.address_pb2 import PhoneNumber
from clarion.types.v1.channel_pb2 import Priority
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.errortable import load
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message
from clarion_channels.providers.smpp.codec import Address, ShortMessage
from clarion_channels.providers.smpp.pool import full_jitter
from clarion_channels.providers.smpp.provider import classify
from clarion_channels.providers.smpp.settings import SmppSettings
from clarion_channels.providers.smpp.submit import Unsendable, build_segments, source_address
from clarion_channels.text.references import References
from clarion_channels.text.segments import TooManyParts

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")
TABLE = load("smpp")


def settings(source: str = "Shop", **more: object) -> SmppSettings:
    return SmppSettings.model_validate({"host": "smsc.example", "system_id": "clarion", "source": source} | more)


def build(text: str, lane: SmppSettings | None = None, to: str = "+821012345678") -> tuple[ShortMessage, ...]:
    message = Message(
        delivery_id=DELIVERY,
        address=RecipientAddress(sms=PhoneNumber(e164=to)),
        content=Rendered(sms=SmsContent(text=text)),
        priority=Priority.PRIORITY_NORMAL,
        expire_at=NOW + timedelta(hours=5),
    )
    lane = lane or settings()
    return build_segments(message, lane, References(lane.reference_bits), NOW).segments


def test_a_short_text_is_one_plain_segment() -> None:
    [segment] = build("Hi")
    assert segment == ShortMessage(
        source=Address(5, 0, "Shop"),
        destination=Address(1, 1, "821012345678"),
        short_message=b"Hi",
        validity_period="260301170000000+",
        registered_delivery=1,
        tlvs={0x0204: b"\xab\xcd"},
    )


def test_a_long_text_is_numbered_under_one_reference() -> None:
    segments = build("x" * 400)
    headers = [segment.short_message[:6] for segment in segments]
    assert [(header[:3].hex(), header[4], header[5]) for header in headers] == [("050003", 3, n) for n in (1, 2, 3)]
    assert len({header[3] for header in headers}) == 1
    assert {segment.esm_class for segment in segments} == {0x40}
    assert [len(segment.short_message) for segment in segments] == [159, 159, 100]


def test_sixteen_bit_references_are_a_setting() -> None:
    header = build("x" * 400, settings(reference_bits=16))[0].short_message[:7]
    assert (header[:3].hex(), header[5:].hex()) == ("060804", "0301")


@pytest.mark.parametrize(("text", "longest"), [("x" * 400, 152), ("\N{HANGUL SYLLABLE GA}" * 100, 132)])
def test_sar_numbers_segments_in_tlvs_and_leaves_room_for_the_carriers_header(text: str, longest: int) -> None:
    lane = settings(concatenation="sar")
    segments = build(text, lane)
    assert {segment.esm_class for segment in segments} == {0}
    assert max(len(segment.short_message) for segment in segments) == longest
    total = len(segments)
    assert [(segment.tlvs[0x020E], segment.tlvs[0x020F]) for segment in segments] == [
        (bytes([total]), bytes([number])) for number in range(1, total + 1)
    ]
    assert len({segment.tlvs[0x020C] for segment in segments}) == 1
    assert all(len(segment.tlvs[0x020C]) == 2 and 0x0204 in segment.tlvs for segment in segments)


def test_text_outside_gsm7_goes_as_ucs2() -> None:
    [segment] = build("안녕")
    assert (segment.data_coding, segment.short_message) == (8, "안녕".encode("utf-16-be"))


def test_typographic_characters_are_replaced_unless_told_otherwise() -> None:
    assert build("it\u2019s")[0].data_coding == 0
    assert build("it\u2019s", settings(transliterate=False))[0].data_coding == 8


def test_typographic_characters_stay_where_the_text_needs_ucs2_anyway() -> None:
    assert build("\u201c안녕\u201d")[0].short_message == "\u201c안녕\u201d".encode("utf-16-be")


def test_validity_is_capped() -> None:
    assert build("Hi", settings(max_validity=3600))[0].validity_period == "260301130000000+"


@pytest.mark.parametrize(
    ("lane", "address"),
    [
        (settings("+4930123456"), Address(1, 1, "4930123456")),
        (settings("72345"), Address(3, 0, "72345")),
        (settings("My Shop"), Address(5, 0, "My Shop")),
        (settings("72345", source_ton=6, source_npi=1), Address(6, 1, "72345")),
    ],
)
def test_sender_type_follows_its_form(lane: SmppSettings, address: Address) -> None:
    assert source_address(lane) == address


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(Unsendable, match="text"):
        build("")
    with pytest.raises(Unsendable, match=r"E\.164"):
        build("Hi", to="01012345678")
    with pytest.raises(Unsendable, match="11 characters"):
        build("Hi", settings("A Sender Too Long"))
    with pytest.raises(TooManyParts):
        build("x" * 400, settings(max_segments=2))


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.ACCEPTED, [0x00]),
        (Outcome.BAD, [0x01, 0x02, 0x03, 0x06, 0x07, 0x0C, 0x11, 0x13, 0x15, 0x33, 0x34, 0x40, 0x42, 0x43, 0x44]),
        (Outcome.BAD, [0x48, 0x51, 0x53, 0x54, 0x55, 0x61, 0x62, 0x63, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4]),
        (Outcome.CRED, [0x0A, 0x0D, 0x0E, 0x0F]),
        (Outcome.DEAD, [0x0B]),
        (Outcome.RETRY, [0x04, 0x05, 0x08, 0x45, 0xFF, 0xFE, 0x67, 0x400, 0x4FF, 0x7777]),
        (Outcome.THROTTLE, [0x14, 0x58]),
    ],
)
def test_statuses_mean_what_the_reference_says(outcome: Outcome, statuses: list[int]) -> None:
    assert {classify(TABLE, status).outcome for status in statuses} == {outcome}


def test_codes_are_hexadecimal_and_unlisted_ones_marked() -> None:
    assert classify(TABLE, 0x58).code == "0x58"
    assert classify(TABLE, 0x412).code == "unlisted:0x412"


def test_carriers_own_status_for_an_opt_out_is_a_setting() -> None:
    told = classify(TABLE, 0x412, opted_out={0x412})
    assert (told.outcome, told.opted_out, told.code) == (Outcome.DEAD, True, "0x412")
    assert not classify(TABLE, 0x0B, opted_out={0x412}).opted_out
    assert settings(opted_out_statuses=[0x412]).opted_out_statuses == {0x412}
    for faulty in ([0], [0x10000], list(range(1, 30))):
        with pytest.raises(ValueError, match="opted_out_statuses"):
            settings(opted_out_statuses=faulty)


def test_backoff_doubles_below_its_cap() -> None:
    base, cap = timedelta(seconds=1), timedelta(seconds=60)
    ceilings = [full_jitter(failures, base, cap, lambda low, high: high) for failures in (1, 2, 3, 7, 99)]
    assert ceilings == [1, 2, 4, 60, 60]
    assert full_jitter(5, base, cap, lambda low, high: low) == 0
