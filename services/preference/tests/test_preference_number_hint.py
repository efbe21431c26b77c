"""What the planner learns of a phone number."""

import pytest

from clarion_kit.number_hint import NO_COUNTRY, prefix_digest, read_hint
from clarion_kit.sealing import AppSealer
from clarion_preference.adapters.sealed_address import seal
from clarion_preference.addresses import AndroidDevice, PhoneNumber

SEALER = AppSealer(7, {0: bytes(32), 1: bytes(32)})


@pytest.mark.parametrize(
    ("e164", "region"),
    [("+821012345678", "KR"), ("+14165550123", "CA"), ("+447400123456", "GB"), ("+881612345678", NO_COUNTRY)],
)
def test_phone_is_stored_with_the_country_of_its_number_and_keyed_prefixes(e164: str, region: str) -> None:
    hint = read_hint(seal(SEALER, 7, PhoneNumber(e164)).hint)

    assert hint is not None
    assert hint.region == region
    assert hint.bucket == prefix_digest(SEALER, e164[1:8])


def test_other_addresses_keep_their_own_hint() -> None:
    assert seal(SEALER, 7, AndroidDevice("token", huawei=True)).hint == "huawei"
