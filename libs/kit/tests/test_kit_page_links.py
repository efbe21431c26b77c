"""Links to preference pages: signed, and over when they say."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.links import PageLink, UnsubscribeLink, page_url, sign_page, sign_unsubscribe, verify_page
from clarion_kit.vocabulary import Channel

KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINK = PageLink(7, UUID(int=9), NOW + timedelta(days=30))

links = st.builds(
    PageLink,
    app_id=st.integers(0, 2**32 - 1),
    recipient_ref=st.uuids(),
    expire_at=st.integers(1, 90 * 86_400).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)


@given(links, st.binary(min_size=32, max_size=32))
def test_signed_link_comes_back_whole_until_it_ends(link: PageLink, key: bytes) -> None:
    token = sign_page(key, link)

    assert len(token) == 60
    assert verify_page(key, token, link.expire_at - timedelta(seconds=1)) == link
    assert verify_page(key, token, link.expire_at) is None


@given(links, st.integers(0, 45 * 8 - 1))
def test_any_flipped_bit_is_refused(link: PageLink, bit: int) -> None:
    signed = bytearray(base64.urlsafe_b64decode(sign_page(KEY, link)))
    signed[bit // 8] ^= 1 << bit % 8

    assert verify_page(KEY, base64.urlsafe_b64encode(bytes(signed)).decode(), NOW) is None


@given(st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]{60}", fullmatch=True))
def test_arbitrary_text_is_refused(token: str) -> None:
    assert verify_page(KEY, token, NOW) is None


def test_token_of_another_key_or_purpose_is_refused() -> None:
    assert verify_page(bytes(32), sign_page(KEY, LINK), NOW) is None
    assert verify_page(KEY, sign_unsubscribe(KEY, UnsubscribeLink(7, UUID(int=9), 1, Channel.EMAIL)), NOW) is None


@pytest.mark.parametrize("base_url", ["https://t.example.com", "https://t.example.com/"])
def test_page_has_one_address(base_url: str) -> None:
    assert page_url(base_url, KEY, LINK) == f"https://t.example.com/p/{sign_page(KEY, LINK)}"


@pytest.mark.parametrize(
    "link", [PageLink(2**32, UUID(int=9), NOW), PageLink(1, UUID(int=9), datetime(1969, 1, 1, tzinfo=UTC))]
)
def test_numbers_that_do_not_fit_are_refused(link: PageLink) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        sign_page(KEY, link)
