import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.links import OpenLink, sign_open, verify_open
from clarion_kit.vocabulary import Channel

KEY = bytes(range(32))
LINK = OpenLink(7, UUID(int=0x0198A), 3, 12, "DE", Channel.EMAIL)

numbers = st.integers(0, 2**32 - 1)
links = st.builds(
    OpenLink,
    app_id=numbers,
    delivery_id=st.uuids(),
    category_id=numbers,
    template_version=numbers,
    country=st.just("") | st.from_regex("[A-Z]{2}", fullmatch=True),
    channel=st.sampled_from(Channel),
)


@given(links, st.binary(min_size=32, max_size=32))
def test_a_signed_link_comes_back_whole(link: OpenLink, key: bytes) -> None:
    token = sign_open(key, link)

    assert len(token) == 64
    assert verify_open(key, token) == link


@given(links, st.integers(0, 48 * 8 - 1))
def test_any_flipped_bit_is_refused(link: OpenLink, bit: int) -> None:
    signed = bytearray(base64.urlsafe_b64decode(sign_open(KEY, link)))
    signed[bit // 8] ^= 1 << bit % 8

    assert verify_open(KEY, base64.urlsafe_b64encode(bytes(signed)).decode()) is None


@given(links, st.integers(0, 63), st.characters())
def test_any_changed_character_is_refused(link: OpenLink, position: int, character: str) -> None:
    token = sign_open(KEY, link)
    changed = token[:position] + character + token[position + 1 :]

    assert verify_open(KEY, changed) == (link if changed == token else None)


@given(st.text(max_size=80))
def test_arbitrary_text_is_refused(token: str) -> None:
    assert verify_open(KEY, token) is None


def test_a_token_of_another_key_is_refused() -> None:
    assert verify_open(bytes(32), sign_open(KEY, LINK)) is None


@pytest.mark.parametrize("suffix", ["", "=", "\n", "A"])
def test_only_the_exact_text_is_a_token(suffix: str) -> None:
    assert (verify_open(KEY, sign_open(KEY, LINK) + suffix) == LINK) is (suffix == "")


@pytest.mark.parametrize(
    "link",
    [
        OpenLink(-1, LINK.delivery_id, 3, 12, "DE", Channel.EMAIL),
        OpenLink(7, LINK.delivery_id, 2**32, 12, "DE", Channel.EMAIL),
        OpenLink(7, LINK.delivery_id, 3, 12, "DEU", Channel.EMAIL),
        OpenLink(7, LINK.delivery_id, 3, 12, "é", Channel.EMAIL),
    ],
)
def test_a_link_that_does_not_fit_is_not_signed(link: OpenLink) -> None:
    with pytest.raises(ValueError, match=r"country|32 bits"):
        sign_open(KEY, link)
