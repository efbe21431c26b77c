"""What a sealed phone number still tells."""

import re

import pytest

from clarion_kit.number_hint import make_hint, prefix_digest, read_hint
from clarion_kit.sealing import AppSealer

SEALER = AppSealer(7, {0: bytes(32), 1: bytes(32)})
OTHER_APP = AppSealer(8, {0: b"\1" * 32, 1: bytes(32)})


@pytest.mark.parametrize(
    ("e164", "lengths"),
    [("+821012345678", 7), ("+12125550123", 7), ("+4670174", 3), ("+29022222", 4)],
)
def test_the_last_four_digits_are_in_no_digest(e164: str, lengths: int) -> None:
    hint = read_hint(make_hint(SEALER, "KR", e164))

    assert hint is not None
    assert hint.prefixes == tuple(prefix_digest(SEALER, e164[1 : 1 + length]) for length in range(1, lengths + 1))
    assert hint.bucket == hint.prefixes[-1]


def test_hint_shows_the_country_and_no_digit_in_a_row() -> None:
    hint = make_hint(SEALER, "KR", "+821012345678")

    assert hint.startswith("KR:")
    assert re.search("8210|1012|3456", hint) is None


def test_neighbours_share_a_bucket_and_strangers_do_not() -> None:
    near, neighbour, far = (
        read_hint(make_hint(SEALER, "KR", e164)) for e164 in ("+821012345678", "+821012399999", "+821012455678")
    )

    assert near is not None
    assert near == neighbour
    assert far is not None
    assert far.bucket != near.bucket
    assert far.prefixes[:6] == near.prefixes[:6]


def test_digests_of_two_apps_have_nothing_in_common() -> None:
    assert prefix_digest(SEALER, "8821") != prefix_digest(OTHER_APP, "8821")


@pytest.mark.parametrize("hint", ["", "fcm", "huawei", "apns-dev", "KR:", "KR:abc"])
def test_other_hints_say_nothing_of_a_number(hint: str) -> None:
    assert read_hint(hint) is None
