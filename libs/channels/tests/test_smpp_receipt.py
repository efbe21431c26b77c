import pytest

from clarion_channels.errortable import load
from clarion_channels.providers.smpp.codec import Address, CodecError, DeliverSm, EnquireLink, ShortMessage, encode
from clarion_channels.providers.smpp.receipt import NotAReceipt, parse_receipt
from clarion_channels.receipt import News, ProviderReceipt, normalise_id
from clarion_kit.vocabulary import Receipt

TABLE = load("smpp_receipts")
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


def parsed(pdu: bytes) -> ProviderReceipt:
    return parse_receipt(pdu, TABLE)


def test_text_receipt_is_read_whole() -> None:
    receipt = parsed(deliver(receipt_text(stat="UNDELIV", err="027")))
    assert (receipt.ids[0], receipt.receipt, receipt.code) == ("a1", Receipt.UNDELIVERED, "027")


@pytest.mark.parametrize(
    ("stat", "receipt", "news"),
    [
        ("DELIVRD", Receipt.DELIVERED, News.ARRIVED),
        ("EXPIRED", Receipt.UNDELIVERED, None),
        ("DELETED", Receipt.UNDELIVERED, None),
        ("UNDELIV", Receipt.UNDELIVERED, None),
        ("REJECTD", Receipt.UNDELIVERED, None),
        ("ACCEPTD", None, None),
        ("ENROUTE", None, None),
        ("UNKNOWN", None, None),
    ],
)
def test_states_of_the_text(stat: str, receipt: Receipt | None, news: News | None) -> None:
    found = parsed(deliver(receipt_text(stat=stat)))
    assert (found.receipt, found.news) == (receipt, news)


# Typed from the carriers' common codes; those of each row mean the same.
@pytest.mark.parametrize(
    ("codes", "news"),
    [
        (("001", "009", "044"), News.DEAD),
        (("022", "027", "029", "030"), News.SOFT_BOUNCE),
        (("011", "019", "021", "013", "112", "113", "114", "993", "997", "000", "777", "x"), None),
    ],
)
@pytest.mark.parametrize("stat", ["UNDELIV", "EXPIRED"])
def test_carriers_code_says_what_a_failure_is_for_the_number(
    codes: tuple[str, ...], news: News | None, stat: str
) -> None:
    assert {parsed(deliver(receipt_text(stat=stat, err=code))).news for code in codes} == {news}


def test_code_of_a_message_on_its_way_or_delivered_says_nothing() -> None:
    assert parsed(deliver(receipt_text(stat="ENROUTE", err="001"))).news is None
    assert parsed(deliver(receipt_text(stat="DELIVRD", err="001"))).news is News.ARRIVED


@pytest.mark.parametrize(("network", "news"), [(3, News.DEAD), (1, None), (8, None)])
def test_code_of_a_network_that_is_not_gsm_is_another(network: int, news: News | None) -> None:
    tlvs = {0x001E: b"b2", 0x0427: b"\x05", 0x0423: bytes([network, 0, 1])}
    receipt = parsed(deliver(tlvs=tlvs))
    assert (receipt.code, receipt.news) == (f"{network}:1", news)


def test_code_without_its_zeros_is_the_same() -> None:
    assert parsed(deliver(receipt_text(stat="UNDELIV", err="1"))).news is News.DEAD


def test_tlvs_win_over_the_text() -> None:
    tlvs = {0x001E: b"0B2\0", 0x0427: b"\x05", 0x0423: b"\x03\x00\x1b"}
    receipt = parsed(deliver(receipt_text(), tlvs=tlvs))
    assert (receipt.ids[0], receipt.receipt, receipt.code) == ("b2", Receipt.UNDELIVERED, "3:27")


def test_text_may_come_as_message_payload() -> None:
    assert parsed(deliver(tlvs={0x0424: receipt_text().encode()})).ids[0] == "a1"


@pytest.mark.parametrize(
    ("submitted", "receipted"),
    [("1A", "26"), ("26", "1a"), ("0000001A", "26"), ("1A", "0000000026"), ("ABC-1", "abc-1"), ("0", "0000")],
)
def test_ids_match_across_hexadecimal_decimal_padding_and_case(submitted: str, receipted: str) -> None:
    assert normalise_id(submitted) in parsed(deliver(receipt_text(receipted))).ids


def test_the_persons_text_cannot_imitate_a_field() -> None:
    receipt = parsed(deliver(receipt_text(stat="UNDELIV") + " id:ff stat:DELIVRD"))
    assert (receipt.ids[0], receipt.receipt) == ("a1", Receipt.UNDELIVERED)


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
        parsed(pdu)


@pytest.mark.parametrize("pdu", [b"\0\0\0\x11garbage", deliver(receipt_text("a\0b"))], ids=["no PDU", "id"])
def test_garbage_is_refused(pdu: bytes) -> None:
    with pytest.raises(CodecError):
        parsed(pdu)


def test_code_is_cut_to_what_can_be_stored() -> None:
    assert parsed(deliver(receipt_text(stat="UNDELIV", err="\x07" + "9" * 100))).code == "9" * 32
