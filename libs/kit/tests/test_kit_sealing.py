"""Sealing binds a value to its app and place; whatever else is opened there is refused."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.sealing import AppSealer, HeldKeys, UnknownKek, Unsealable, key_of, recipient_reference

BLIND, FIRST, SECOND = (bytes([n]) * 32 for n in range(3))
SEALER = AppSealer(7, {0: BLIND, 1: FIRST})
words = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20)


@given(st.binary(max_size=500), words, st.binary(max_size=40), words)
def test_what_was_sealed_is_opened_in_its_place(plaintext: bytes, table: str, owner: bytes, column: str) -> None:
    sealed = SEALER.seal(table, owner, column, plaintext)

    assert SEALER.open(table, owner, column, sealed) == plaintext
    assert len(sealed) == len(plaintext) + 33


@given(st.binary(min_size=8, max_size=100))
def test_sealing_twice_gives_two_values_that_show_nothing(plaintext: bytes) -> None:
    first, second = (SEALER.seal("t", b"o", "c", plaintext) for _ in range(2))

    assert first != second
    assert plaintext not in first


Place = tuple[str, bytes, str]
places = st.tuples(words, st.binary(max_size=20), words)


@given(places, places)
def test_value_opens_nowhere_but_in_its_place(place: Place, elsewhere: Place) -> None:
    sealed = SEALER.seal(*place, b"hello")

    if elsewhere == place:
        assert SEALER.open(*elsewhere, sealed) == b"hello"
    else:
        with pytest.raises(Unsealable):
            SEALER.open(*elsewhere, sealed)


def test_value_of_another_app_is_refused() -> None:
    sealed = AppSealer(8, {0: BLIND, 1: FIRST}).seal("t", b"o", "c", b"hello")

    with pytest.raises(Unsealable):
        SEALER.open("t", b"o", "c", sealed)


@given(st.integers(0, 37), st.integers(1, 255))
def test_one_changed_byte_is_noticed(position: int, flip: int) -> None:
    sealed = bytearray(SEALER.seal("t", b"o", "c", b"hello"))
    sealed[position] ^= flip

    with pytest.raises(Unsealable):
        SEALER.open("t", b"o", "c", bytes(sealed))


@given(st.binary(max_size=80))
def test_anything_else_is_refused(garbage: bytes) -> None:
    with pytest.raises(Unsealable):
        SEALER.open("t", b"o", "c", garbage)


def test_rotated_sealer_opens_old_values_and_seals_with_the_newest_key() -> None:
    old = SEALER.seal("t", b"o", "c", b"hello")
    rotated = AppSealer(7, {0: BLIND, 1: FIRST, 2: SECOND})

    assert rotated.open("t", b"o", "c", old) == b"hello"
    with pytest.raises(Unsealable, match="unknown version or key"):
        SEALER.open("t", b"o", "c", rotated.seal("t", b"o", "c", b"hello"))


def test_each_day_has_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = AppSealer(7, {0: BLIND, 1: FIRST})
    sealed = []
    for day in range(100):  # more than are cached
        monkeypatch.setattr(time, "time", lambda at=day * 86_400.0: at)
        sealed.append(sealer.seal("t", b"o", "c", b"%d" % day))

    assert [sealer.open("t", b"o", "c", value) for value in sealed] == [b"%d" % day for day in range(100)]
    moved = sealed[1][:3] + sealed[2][3:5] + sealed[1][5:]
    with pytest.raises(Unsealable):
        sealer.open("t", b"o", "c", moved)


def test_blind_index_finds_equal_values_of_one_namespace_and_app() -> None:
    other_app = AppSealer(8, {0: SECOND, 1: FIRST})

    assert SEALER.blind_index("phone", b"+1") == SEALER.blind_index("phone", b"+1")
    assert len({SEALER.blind_index("phone", b"+1"), SEALER.blind_index("mail", b"+1")}) == 2
    assert SEALER.blind_index("phone", b"+1") != other_app.blind_index("phone", b"+1")


async def test_wrapped_key_opens_for_its_app_and_number_alone() -> None:
    wrapper = HeldKeys("k1", {"k1": os.urandom(32)})
    kek_id, wrapped = await wrapper.wrap(7, 1, FIRST)

    assert await wrapper.unwrap(7, 1, kek_id, wrapped) == FIRST
    for app_id, key_id, other in ((8, 1, "k1"), (7, 2, "k1"), (7, 1, "k2")):
        with pytest.raises(Unsealable):
            await wrapper.unwrap(app_id, key_id, other, wrapped)


async def test_key_encryption_key_that_is_not_held_is_told_from_a_wrong_one() -> None:
    wrapper = HeldKeys("k1", {"k1": os.urandom(32)})
    _, wrapped = await wrapper.wrap(7, 1, FIRST)

    with pytest.raises(UnknownKek):
        await wrapper.unwrap(7, 1, "k2", wrapped)


def test_key_that_is_announced_opens_and_does_not_seal() -> None:
    announced = AppSealer(7, {0: BLIND, 1: FIRST, 2: SECOND}, active=1)
    later = AppSealer(7, {0: BLIND, 1: FIRST, 2: SECOND})
    sealed = later.seal("t", b"o", "c", b"hello")

    assert announced.open("t", b"o", "c", sealed) == b"hello"
    assert (key_of(announced.seal("t", b"o", "c", b"hello")), key_of(sealed)) == (1, 2)
    assert (announced.active, later.active) == (1, 2)


@pytest.mark.parametrize("value", [b"", b"\1\0\1", b"\2" + bytes(40)])
def test_what_is_not_sealed_names_no_key(value: bytes) -> None:
    assert key_of(value) is None


def test_faulty_key_encryption_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="not among the keys"):
        HeldKeys("k2", {"k1": bytes(32)})
    with pytest.raises(ValueError, match="32 bytes"):
        HeldKeys("k1", {"k1": bytes(16)})


def test_recipient_reference_differs_by_app_and_recipient() -> None:
    references = {recipient_reference(app, name) for app in (1, 11) for name in ("1", "11", "1\0", "é")}

    assert len(references) == 8
    assert {len(reference) for reference in references} == {16}
