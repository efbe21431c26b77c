"""The hint of a phone number, for the planner's budgets."""

import phonenumbers

from clarion_kit.number_hint import NO_COUNTRY, make_hint
from clarion_kit.sealing import AppSealer
from clarion_preference.addresses import PhoneNumber


def number_hint(sealer: AppSealer, phone: PhoneNumber) -> str:
    """Country and keyed leading digits of a number that was checked when it came in (clarion_kit.number_hint)."""
    region = phonenumbers.region_code_for_number(phonenumbers.parse(phone.e164, None))
    return make_hint(sealer, region or NO_COUNTRY, phone.e164)
