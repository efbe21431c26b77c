import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.text import gsm7

BASE = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCXYZÄÖÑÜ§¿abcxyzäöñüà"
EXTENSION = "^{}\\[~]|€\f"


@given(st.text(alphabet=BASE + EXTENSION))
def test_text_of_the_alphabet_survives_encoding(text: str) -> None:
    assert gsm7.decode(gsm7.encode(text)) == text


@pytest.mark.parametrize("character", list(EXTENSION))
def test_extension_characters_cost_two_septets(character: str) -> None:
    septets = gsm7.encode(character)
    assert len(septets) == 2
    assert septets[0] == gsm7.ESCAPE


@pytest.mark.parametrize(
    ("character", "septet"), [("@", 0x00), ("$", 0x02), ("_", 0x11), ("Δ", 0x10), ("É", 0x1F), ("¡", 0x40), ("à", 0x7F)]
)
def test_codes_are_those_of_the_standard(character: str, septet: int) -> None:
    assert gsm7.encode(character) == bytes([septet])


def test_euro_sign_has_its_code_of_the_extension_table() -> None:
    assert gsm7.encode("€") == b"\x1b\x65"


@pytest.mark.parametrize("character", ["`", "ç", "ж", "안", "\x1b", "\u2019", "\t"])
def test_characters_outside_the_alphabet_are_refused(character: str) -> None:
    assert not gsm7.is_gsm7(f"a{character}")
    with pytest.raises(gsm7.NotGsm7):
        gsm7.encode(f"a{character}")


@pytest.mark.parametrize("septets", [b"a\x80", b"a\x1b", b"\x1b\x1b\x65"])
def test_bytes_that_are_no_septets_are_refused(septets: bytes) -> None:
    with pytest.raises(gsm7.NotGsm7):
        gsm7.decode(septets)


def test_unknown_extension_septet_falls_back_to_the_base_table() -> None:
    assert gsm7.decode(b"\x1bA") == "A"


def test_transliteration_brings_typographic_text_into_the_alphabet() -> None:
    text = "\u201cDon\u2019t\u201d \u2013 10\u00a0% off\u2026 fran\u00e7ais"
    assert not gsm7.is_gsm7(text)
    assert gsm7.transliterate(text) == '"Don\'t" - 10 % off... franÇais'
    assert gsm7.is_gsm7(gsm7.transliterate(text))


@given(st.text(alphabet=BASE + EXTENSION))
def test_transliteration_leaves_the_alphabet_alone(text: str) -> None:
    assert gsm7.transliterate(text) == text
