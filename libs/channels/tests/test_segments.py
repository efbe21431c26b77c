from itertools import accumulate

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.text import gsm7
from clarion_channels.text.segments import Alphabet, ReferenceBits, TooManyParts, join, split, user_data_header

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
REFERENCE_BITS = st.sampled_from((8, 16))
TEXT = st.one_of(
    st.text(alphabet="abc €{}[]\r\nÉ", min_size=140, max_size=500),
    st.lists(st.sampled_from([FAMILY, "e\u0301", "안", "\U0001f1f0\U0001f1f7", "a", "\r\n"]), max_size=200).map(
        "".join
    ),
    st.text(max_size=300),
)


@given(TEXT, REFERENCE_BITS)
def test_parts_join_to_the_original_text(text: str, bits: ReferenceBits) -> None:
    assert join(split(text, reference_bits=bits)) == text


@given(TEXT, REFERENCE_BITS)
def test_no_part_exceeds_what_fits_beside_its_header(text: str, bits: ReferenceBits) -> None:
    message = split(text, reference_bits=bits)
    several = len(message.parts) > 1
    limits = {
        (Alphabet.GSM7, False, 8): 160,
        (Alphabet.GSM7, False, 16): 160,
        (Alphabet.GSM7, True, 8): 153,
        (Alphabet.GSM7, True, 16): 152,
        (Alphabet.UCS2, False, 8): 140,
        (Alphabet.UCS2, False, 16): 140,
        (Alphabet.UCS2, True, 8): 134,
        (Alphabet.UCS2, True, 16): 132,
    }
    assert max(map(len, message.parts)) <= limits[message.alphabet, several, bits]


@given(TEXT)
def test_no_part_splits_a_grapheme_cluster(text: str) -> None:
    message = split(text)
    if message.alphabet is Alphabet.GSM7:
        parts = [gsm7.decode(part) for part in message.parts]
    else:
        parts = [part.decode("utf-16-be") for part in message.parts]
    clusters = regex.findall(r"\X", text)
    if all(len(cluster.encode("utf-16-be")) <= 134 for cluster in clusters):
        boundaries = {0, *accumulate(map(len, clusters))}
        assert boundaries.issuperset(accumulate(map(len, parts)))


@pytest.mark.parametrize(
    ("text", "alphabet", "lengths"),
    [
        ("a" * 160, Alphabet.GSM7, [160]),
        ("a" * 161, Alphabet.GSM7, [153, 8]),
        ("€" * 80, Alphabet.GSM7, [160]),
        ("€" * 81, Alphabet.GSM7, [152, 10]),
        ("안" * 70, Alphabet.UCS2, [140]),
        ("안" * 71, Alphabet.UCS2, [134, 8]),
        ("\U0001f600" * 35, Alphabet.UCS2, [140]),
        ("\U0001f600" * 36, Alphabet.UCS2, [132, 12]),
        ("", Alphabet.GSM7, [0]),
    ],
)
def test_boundaries_of_one_and_two_parts(text: str, alphabet: Alphabet, lengths: list[int]) -> None:
    message = split(text)
    assert message.alphabet is alphabet
    assert [len(part) for part in message.parts] == lengths


def test_a_cluster_longer_than_a_part_is_cut_between_code_points() -> None:
    text = "a" + "\u0301" * 200
    message = split(text)
    assert join(message) == text
    assert len(message.parts) == 3


def test_more_parts_than_allowed_are_refused() -> None:
    with pytest.raises(TooManyParts):
        split("a" * 154 * 3, max_parts=3)
    with pytest.raises(TooManyParts):
        split("a" * 153 * 256)


def test_user_data_headers_of_both_widths() -> None:
    assert user_data_header(0x1234, 3, 2) == bytes.fromhex("050003340302")
    assert user_data_header(0x1234, 3, 2, 16) == bytes.fromhex("06080412340302")


@pytest.mark.parametrize(("total", "number"), [(2, 0), (2, 3), (256, 1)])
def test_impossible_part_numbers_are_refused(total: int, number: int) -> None:
    with pytest.raises(ValueError, match="cannot be expressed"):
        user_data_header(1, total, number)
