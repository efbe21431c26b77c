import pytest

from clarion_channels.providers.smpp.codec import Address, CodecError, DeliverSm, EnquireLink, ShortMessage, encode
from clarion_channels.providers.smpp.receipt import NotAReceipt, State, normalise_id, parse_receipt

TEXT = "id:{id} sub:001 dlvrd:001 submit date:2603011230 done date:2603011231 stat:{stat} err:{err} text:Hello"


def deliver(text: str = "", *, esm_class: int = 0x04, tlvs: dict[int, bytes] | None = None) -> bytes:
    return encode(
        DeliverSm(
            1,
            ShortMessage(
                source=Address(1, 1, "821012345678"),
                destination=Address(5, 0, "Shop"),
                short_message=text.encode("latin-1"),
                esm_class=esm_class,
                tlvs=tlvs or {},
            ),
        )
    )


def receipt_text(message_id: str = "a1", stat: str = "DELIVRD", err: str = "000") -> str:
    return TEXT.format(id=message_id, stat=stat, err=err)


def test_text_receipt_is_read_whole() -> None:
    receipt = parse_receipt(deliver(receipt_text(err="027")))
    assert (receipt.ids[0], receipt.state, receipt.error, receipt.done_date) == (
        "a1",
        State.DELIVERED,
        "027",
        "2603011231",
    )


@pytest.mark.parametrize(
    ("stat", "state", "final"),
    [
        ("DELIVRD", State.DELIVERED, True),
        ("EXPIRED", State.EXPIRED, True),
        ("DELETED", State.DELETED, True),
        ("UNDELIV", State.UNDELIVERABLE, True),
        ("REJECTD", State.REJECTED, True),
        ("ACCEPTD", State.ACCEPTED, False),
        ("ENROUTE", State.ENROUTE, False),
        ("UNKNOWN", State.UNKNOWN, False),
    ],
)
def test_states_of_the_text(stat: str, state: State, final: bool) -> None:
    receipt = parse_receipt(deliver(receipt_text(stat=stat)))
    assert (receipt.state, receipt.state.final) == (state, final)


def test_ranks_let_final_states_win_and_delivery_most() -> None:
    assert (
        State.UNKNOWN.rank < State.ENROUTE.rank < State.ACCEPTED.rank < State.UNDELIVERABLE.rank < State.DELIVERED.rank
    )
    assert len({state.rank for state in (State.EXPIRED, State.DELETED, State.UNDELIVERABLE, State.REJECTED)}) == 1


def test_tlvs_win_over_the_text() -> None:
    tlvs = {0x001E: b"0B2\0", 0x0427: b"\x05", 0x0423: b"\x03\x00\x1b"}
    receipt = parse_receipt(deliver(receipt_text(), tlvs=tlvs))
    assert (receipt.ids[0], receipt.state, receipt.error) == ("b2", State.UNDELIVERABLE, "3:27")


def test_text_may_come_as_message_payload() -> None:
    assert parse_receipt(deliver(tlvs={0x0424: receipt_text().encode()})).ids[0] == "a1"


@pytest.mark.parametrize(
    ("submitted", "receipted"),
    [("1A", "26"), ("26", "1a"), ("0000001A", "26"), ("1A", "0000000026"), ("ABC-1", "abc-1"), ("0", "0000")],
)
def test_ids_match_across_hexadecimal_decimal_padding_and_case(submitted: str, receipted: str) -> None:
    assert normalise_id(submitted) in parse_receipt(deliver(receipt_text(receipted))).ids


def test_the_persons_text_cannot_imitate_a_field() -> None:
    receipt = parse_receipt(deliver(receipt_text(stat="UNDELIV") + " id:ff stat:DELIVRD"))
    assert (receipt.ids[0], receipt.state) == ("a1", State.UNDELIVERABLE)


@pytest.mark.parametrize(
    "pdu",
    [
        deliver("Hello, when do you open?", esm_class=0),
        deliver(receipt_text(), esm_class=0),
        deliver("id:a1 sub:001", esm_class=4),
        deliver(receipt_text(stat="WHATEVER")),
        deliver("stat:DELIVRD"),
        encode(EnquireLink(1)),
    ],
)
def test_what_is_no_receipt_is_refused(pdu: bytes) -> None:
    with pytest.raises(NotAReceipt):
        parse_receipt(pdu)


def test_garbage_is_refused() -> None:
    with pytest.raises(CodecError):
        parse_receipt(b"\0\0\0\x11garbage")
