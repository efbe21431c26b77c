"""Links that redirect, and tokens of app events: what they say, and that nobody else can say it."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.links import (
    MAX_TARGET_BYTES,
    ClickLink,
    OpenLink,
    click_key,
    is_trackable,
    packed,
    sign_click,
    sign_event,
    sign_open,
    verify_click,
    verify_event,
    verify_open,
)
from clarion_kit.vocabulary import Channel

KEY = bytes(range(32))
DELIVERY = OpenLink(7, UUID(int=0x0198A), 3, 12, "DE", Channel.EMAIL)
TARGET = "https://shop.example.com/orders/7?a=1&b=2#top"

numbers = st.integers(0, 2**32 - 1)
deliveries = st.builds(
    OpenLink,
    app_id=numbers,
    delivery_id=st.uuids(),
    category_id=numbers,
    template_version=numbers,
    country=st.just("") | st.from_regex(r"\A[A-Z]{2}\Z"),
    channel=st.sampled_from(Channel),
)
targets = st.from_regex(r"\Ahttps?://[a-z0-9.-]{1,40}(:[0-9]{2,5})?(/[!-~]{0,60})?\Z")


def click(delivery: OpenLink = DELIVERY, number: int = 2, target: str = TARGET, key: bytes = KEY) -> str:
    about = packed(delivery)
    return sign_click(click_key(key, about), about, number, target)


@given(deliveries, st.integers(0, 65_535), targets)
def test_a_click_link_comes_back_whole(delivery: OpenLink, number: int, target: str) -> None:
    assert verify_click(KEY, click(delivery, number, target)) == ClickLink(delivery, number, target)


@given(st.data(), targets)
def test_any_flipped_bit_of_a_click_link_is_refused(data: st.DataObject, target: str) -> None:
    token = click(target=target)
    signed = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    bit = data.draw(st.integers(0, len(signed) * 8 - 1))
    signed[bit // 8] ^= 1 << bit % 8

    assert verify_click(KEY, base64.urlsafe_b64encode(bytes(signed)).rstrip(b"=").decode()) is None


@given(st.data(), targets, st.characters())
def test_any_changed_character_of_a_click_link_is_refused(data: st.DataObject, target: str, character: str) -> None:
    token = click(target=target)
    position = data.draw(st.integers(0, len(token) - 1))
    changed = token[:position] + character + token[position + 1 :]

    assert (verify_click(KEY, changed) is None) is (changed != token)


@given(st.text(max_size=200))
def test_arbitrary_text_is_no_click_link(token: str) -> None:
    assert verify_click(KEY, token) is None


@pytest.mark.parametrize("suffix", ["=", "==", "\n", "A", "AAAA"])
def test_only_the_exact_text_is_a_click_link(suffix: str) -> None:
    assert verify_click(KEY, click() + suffix) is None


def test_one_deliverys_key_signs_no_links_of_another() -> None:
    other = OpenLink(7, UUID(int=1), 3, 12, "DE", Channel.EMAIL)
    forged = sign_click(click_key(KEY, packed(other)), packed(DELIVERY), 0, TARGET)

    assert verify_click(KEY, forged) is None


def test_click_link_of_another_key_is_refused() -> None:
    assert verify_click(bytes(32), click()) is None


@pytest.mark.parametrize(
    "target",
    [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://a.example/",
        "//a.example/",
        "/orders",
        "https://",
        "https:///orders",
        "https://a.example/a b",
        "https://a.example/\r\nSet-Cookie: a=b",
        "https://a.example/\t",
        "https://a.example/\x00",
        "https://a.example/ü",
        "https://ü.example/",
        "https://a.example\\@b.example/",
        "https://a.example/" + "x" * MAX_TARGET_BYTES,
        "shop://orders/7",
        "mailto:a@b.example",
    ],
)
def test_target_that_no_redirect_may_name_is_not_signed(target: str) -> None:
    assert not is_trackable(target)
    with pytest.raises(ValueError, match="http or https"):
        click(target=target)


@pytest.mark.parametrize("number", [-1, 65_536])
def test_number_of_a_link_has_16_bits(number: int) -> None:
    with pytest.raises(ValueError, match="16 bits"):
        click(number=number)


@given(deliveries)
def test_a_token_of_app_events_comes_back_whole(delivery: OpenLink) -> None:
    token = sign_event(KEY, delivery)

    assert len(token) == 64
    assert verify_event(KEY, token) == delivery


@given(deliveries, st.integers(0, 48 * 8 - 1))
def test_any_flipped_bit_of_an_event_token_is_refused(delivery: OpenLink, bit: int) -> None:
    signed = bytearray(base64.urlsafe_b64decode(sign_event(KEY, delivery)))
    signed[bit // 8] ^= 1 << bit % 8

    assert verify_event(KEY, base64.urlsafe_b64encode(bytes(signed)).decode()) is None


def test_pixel_and_app_event_do_not_stand_for_each_other() -> None:
    assert verify_event(KEY, sign_open(KEY, DELIVERY)) is None
    assert verify_open(KEY, sign_event(KEY, DELIVERY)) is None
    assert verify_click(KEY, sign_open(KEY, DELIVERY)) is None
