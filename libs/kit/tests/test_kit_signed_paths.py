"""Unsubscribe links and return paths: they come back as they went, and nothing else passes."""

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.links import (
    OpenLink,
    ReturnPath,
    UnsubscribeLink,
    sign_open,
    sign_return_path,
    sign_unsubscribe,
    unsubscribe_url,
    verify_open,
    verify_return_path,
    verify_unsubscribe,
)
from clarion_kit.vocabulary import Channel

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
LINK = UnsubscribeLink(1, UUID(int=2), 3, Channel.EMAIL)
PATH = ReturnPath(7, UUID(int=8))

numbers = st.integers(0, 2**32 - 1)


@given(numbers, st.uuids(), numbers, st.sampled_from(Channel))
def test_unsubscribe_link_comes_back_as_it_went(app: int, recipient: UUID, category: int, channel: Channel) -> None:
    link = UnsubscribeLink(app, recipient, category, channel)
    token = sign_unsubscribe(KEY, link)

    assert len(token) == 56
    assert verify_unsubscribe(KEY, token) == link


@given(numbers, st.uuids(), st.booleans())
def test_return_path_comes_back_in_any_case_and_fits_a_local_part(lane: int, delivery: UUID, upper: bool) -> None:
    path = ReturnPath(lane, delivery)
    local = sign_return_path(KEY, path)

    assert len(local) == 62
    assert verify_return_path(KEY, local.upper() if upper else local) == path


@given(st.data())
def test_one_changed_character_is_refused(data: st.DataObject) -> None:
    token = sign_unsubscribe(KEY, LINK)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc012_-").filter(lambda character: character != token[at]))

    assert verify_unsubscribe(KEY, token[:at] + other + token[at + 1 :]) is None


@pytest.mark.parametrize("change", [lambda local: local[:-3] + "aaa", lambda local: "b+" + "a" * 60, lambda local: ""])
def test_return_path_of_somebody_elses_making_is_refused(change: Callable[[str], str]) -> None:
    assert verify_return_path(KEY, change(sign_return_path(KEY, PATH))) is None


def test_key_of_another_is_refused() -> None:
    assert verify_unsubscribe(OTHER_KEY, sign_unsubscribe(KEY, LINK)) is None
    assert verify_return_path(OTHER_KEY, sign_return_path(KEY, PATH)) is None


def test_token_of_one_purpose_serves_no_other() -> None:
    opened = sign_open(KEY, OpenLink(1, UUID(int=2), 3, 0, "", Channel.EMAIL))

    assert verify_unsubscribe(KEY, opened) is None
    assert verify_unsubscribe(KEY, opened[:56]) is None
    assert verify_open(KEY, sign_unsubscribe(KEY, LINK)) is None


def test_url_is_that_of_the_tracker() -> None:
    assert unsubscribe_url("https://t.example.com/", KEY, LINK) == (
        f"https://t.example.com/u/{sign_unsubscribe(KEY, LINK)}"
    )


@pytest.mark.parametrize("number", [-1, 2**32])
def test_number_that_does_not_fit_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        sign_unsubscribe(KEY, UnsubscribeLink(number, UUID(int=2), 3, Channel.EMAIL))
    with pytest.raises(ValueError, match="32 bits"):
        sign_return_path(KEY, ReturnPath(number, UUID(int=2)))
