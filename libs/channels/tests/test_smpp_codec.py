from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.providers.smpp.codec import (
    Address,
    BindTransceiver,
    BindTransceiverResp,
    BodyError,
    CodecError,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    Framer,
    FramingError,
    GenericNack,
    Pdu,
    ShortMessage,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    Unsupported,
    decode,
    encode,
)

SUBMIT = bytes.fromhex(
    "00000043" "00000004" "00000000" "00000007"  # length, submit_sm, status, sequence
    "00" "05" "00" "53686f7000"  # service type; alphanumeric "Shop"
    "01" "01" "38323130313233343536373800"  # international "821012345678"
    "00" "00" "01"  # esm_class, protocol_id, priority_flag
    "00" "00"  # schedule, validity
    "01" "00" "00" "00"  # registered_delivery, replace, data_coding, default message
    "02" "4869"  # "Hi"
    "0204" "0002" "abcd"  # user_message_reference
)  # fmt: skip

ASCII = st.characters(min_codepoint=1, max_codepoint=127)
OCTET = st.integers(0, 255)
SEQUENCE = st.integers(1, 0x7FFFFFFF)
STATUS = st.integers(1, 0xFFFFFFFF)
ADDRESS = st.builds(Address, OCTET, OCTET, st.text(ASCII, max_size=20))
MESSAGE = st.builds(
    ShortMessage,
    source=ADDRESS,
    destination=ADDRESS,
    short_message=st.binary(max_size=254),
    service_type=st.text(ASCII, max_size=5),
    esm_class=OCTET,
    protocol_id=OCTET,
    priority_flag=OCTET,
    schedule_delivery_time=st.text(ASCII, max_size=16),
    validity_period=st.text(ASCII, max_size=16),
    registered_delivery=OCTET,
    replace_if_present=OCTET,
    data_coding=OCTET,
    default_message_id=OCTET,
    tlvs=st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=40), max_size=3),
)
PDU = st.one_of(
    st.builds(BindTransceiver, SEQUENCE, st.text(ASCII, max_size=15), st.text(ASCII, max_size=8)),
    st.builds(BindTransceiverResp, SEQUENCE, STATUS),
    st.builds(BindTransceiverResp, SEQUENCE, st.just(0), st.text(ASCII, max_size=15)),
    st.builds(SubmitSm, SEQUENCE, MESSAGE),
    st.builds(SubmitSmResp, SEQUENCE, STATUS),
    st.builds(SubmitSmResp, SEQUENCE, st.just(0), st.text(ASCII, max_size=64)),
    st.builds(DeliverSm, SEQUENCE, MESSAGE),
    st.builds(DeliverSmResp, SEQUENCE, STATUS),
    st.builds(EnquireLink, SEQUENCE),
    st.builds(EnquireLinkResp, SEQUENCE),
    st.builds(Unbind, SEQUENCE),
    st.builds(UnbindResp, SEQUENCE),
    st.builds(GenericNack, SEQUENCE, STATUS),
)


def submit() -> SubmitSm:
    return SubmitSm(
        7,
        ShortMessage(
            source=Address(5, 0, "Shop"),
            destination=Address(1, 1, "821012345678"),
            short_message=b"Hi",
            priority_flag=1,
            registered_delivery=1,
            tlvs={0x0204: b"\xab\xcd"},
        ),
    )


def test_submit_sm_has_the_layout_of_the_specification() -> None:
    length = len(SUBMIT).to_bytes(4, "big")
    assert encode(submit()) == length + SUBMIT[4:]
    assert decode(length + SUBMIT[4:]) == submit()


def test_bind_has_the_layout_of_the_specification() -> None:
    assert encode(BindTransceiver(1, "clarion", "secret", "")) == bytes.fromhex(
        "00000024" "00000009" "00000000" "00000001" "636c6172696f6e00" "73656372657400" "00" "34000000"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pdu", "data"),
    [
        (EnquireLink(3), "00000010 00000015 00000000 00000003"),
        (EnquireLinkResp(3), "00000010 80000015 00000000 00000003"),
        (Unbind(4), "00000010 00000006 00000000 00000004"),
        (UnbindResp(4), "00000010 80000006 00000000 00000004"),
        (DeliverSmResp(5, 0x64), "00000011 80000005 00000064 00000005 00"),
        (GenericNack(0, 3), "00000010 80000000 00000003 00000000"),
        (SubmitSmResp(6, 0, "a1"), "00000013 80000004 00000000 00000006 613100"),
        (SubmitSmResp(6, 0x58), "00000010 80000004 00000058 00000006"),
    ],
)
def test_small_pdus_have_the_layout_of_the_specification(pdu: Pdu, data: str) -> None:
    assert encode(pdu) == bytes.fromhex(data)
    assert decode(bytes.fromhex(data)) == pdu


@given(PDU)
def test_every_pdu_survives_encoding(pdu: Pdu) -> None:
    assert decode(encode(pdu)) == pdu


@given(st.binary(max_size=120), st.sampled_from([0x04, 0x05, 0x09, 0x80000004, 0x80000009, 0x103]))
def test_any_body_decodes_or_raises_a_codec_error(body: bytes, command_id: int) -> None:
    data = (16 + len(body)).to_bytes(4, "big") + command_id.to_bytes(4, "big") + bytes(4) + b"\0\0\0\1" + body
    with suppress(BodyError):
        assert decode(data).sequence == 1


def test_a_malformed_body_names_the_request_to_refuse() -> None:
    with pytest.raises(BodyError) as caught:
        decode(bytes.fromhex("00000012 00000005 00000000 00000009 0101"))
    assert (caught.value.command_id, caught.value.sequence) == (0x05, 9)


def test_unknown_commands_are_told_apart_by_their_direction() -> None:
    request = decode(bytes.fromhex("00000010 00000103 00000000 00000009"))
    assert request == Unsupported(9, 0x103)
    assert not request.is_response
    response = decode(bytes.fromhex("00000010 80000103 00000000 00000009"))
    assert isinstance(response, Unsupported)
    assert response.is_response


@given(st.lists(PDU, max_size=5), st.integers(1, 50))
def test_framer_cuts_any_stream_into_its_pdus(pdus: list[Pdu], step: int) -> None:
    stream = b"".join(map(encode, pdus))
    framer = Framer()
    found = [pdu for start in range(0, len(stream), step) for pdu in framer.feed(stream[start : start + step])]
    assert [decode(pdu) for pdu in found] == pdus


@pytest.mark.parametrize("length", [0, 15, 70_001, 0xFFFFFFFF])
def test_impossible_lengths_are_refused(length: int) -> None:
    with pytest.raises(FramingError):
        list(Framer().feed(length.to_bytes(4, "big")))


def test_length_field_and_bytes_must_agree() -> None:
    with pytest.raises(FramingError):
        decode(encode(EnquireLink(1)) + b"\0")


@pytest.mark.parametrize(
    "pdu",
    [
        BindTransceiver(1, "x" * 16, ""),
        BindTransceiver(1, "", "p\0"),
        BindTransceiver(1, "é", ""),
        SubmitSm(1, ShortMessage(Address(0, 0, "1" * 21), Address(0, 0, ""))),
        SubmitSm(1, ShortMessage(Address(0, 0, ""), Address(0, 0, ""), b"x" * 255)),
        SubmitSm(1, ShortMessage(Address(256, 0, ""), Address(0, 0, ""))),
        SubmitSm(1, ShortMessage(Address(0, 0, ""), Address(0, 0, ""), tlvs={0x10000: b""})),
        EnquireLink(-1),
    ],
)
def test_values_that_do_not_fit_are_refused(pdu: Pdu) -> None:
    with pytest.raises(CodecError):
        encode(pdu)


def test_passwords_stay_out_of_the_representation() -> None:
    assert "secret" not in repr(BindTransceiver(1, "clarion", "secret"))
