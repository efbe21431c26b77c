"""What is shown of addresses, and what routing learns."""

import pytest

from clarion_preference.addresses import (
    Address,
    AndroidDevice,
    ApnsDevice,
    MailAddress,
    PhoneNumber,
    WebSubscription,
)


@pytest.mark.parametrize(
    ("address", "masked", "hint"),
    [
        (PhoneNumber("+821012345678"), "+82••••5678", ""),
        (PhoneNumber("+29022222"), "+29••••22", ""),
        (MailAddress("anna@example.org"), "a••••@example.org", ""),
        (ApnsDevice("abcd" + "0" * 56 + "1234"), "abcd••••1234", ""),
        (ApnsDevice("abcd" + "0" * 56 + "1234", development=True), "abcd••••1234", "apns-dev"),
        (AndroidDevice("short"), "••••", "fcm"),
        (AndroidDevice("abcd" + "x" * 100 + "wxyz", huawei=True), "abcd••••wxyz", "huawei"),
        (WebSubscription("https://push.example.com/secret", "k", "a"), "push.example.com/••••", ""),
    ],
)
def test_address_is_masked_and_hints_at_its_route(address: Address, masked: str, hint: str) -> None:
    assert (address.masked, address.hint) == (masked, hint)


@pytest.mark.parametrize(
    "address",
    [
        PhoneNumber("+821012345678"),
        MailAddress("canary@example.org", "canary"),
        ApnsDevice("canary"),
        AndroidDevice("canary"),
        WebSubscription("https://canary", "canary", "canary"),
    ],
)
def test_address_hides_from_logs(address: Address) -> None:
    assert "canary" not in repr(address)
    assert "5678" not in repr(address)
