"""Single values of contact data and places: their normal form, and what is refused."""

import base64
from collections.abc import Callable
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clarion_preference import contact_points, places
from clarion_preference.malformed import Malformed

POINT = (
    ec.derive_private_key(7, ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
)
OFF_CURVE = POINT[:-1] + bytes([POINT[-1] ^ 1])
AUTH = bytes(range(240, 256))


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


@pytest.mark.parametrize(
    ("reader", "given", "normal"),
    [
        (contact_points.phone_number, "+821012345678", "+821012345678"),
        (contact_points.phone_number, "+4915112345678", "+4915112345678"),
        (contact_points.phone_number, "+390612345678", "+390612345678"),
        (contact_points.mail_address, "Anna.Lee@Example.ORG", "Anna.Lee@example.org"),
        (contact_points.mail_address, "a+b@bücher.example.com", "a+b@xn--bcher-kva.example.com"),
        (contact_points.apns_token, "AB" * 16, "ab" * 16),
        (contact_points.apns_token, "0f" * 100, "0f" * 100),
        (contact_points.android_token, "x", "x"),
        (contact_points.android_token, "d:Az_-" + "x" * 4090, "d:Az_-" + "x" * 4090),
        (contact_points.push_endpoint, "https://push.example.com/a?b=C", "https://push.example.com/a?b=C"),
        (partial(contact_points.push_endpoint, private=True), "https://127.0.0.1:8443/a", "https://127.0.0.1:8443/a"),
        (contact_points.p256dh_key, base64url(POINT), base64url(POINT).rstrip("=")),
        (contact_points.p256dh_key, base64url(POINT).rstrip("="), base64url(POINT).rstrip("=")),
        (contact_points.push_auth, base64url(AUTH), base64url(AUTH).rstrip("=")),
        (contact_points.push_auth, base64url(AUTH).rstrip("="), base64url(AUTH).rstrip("=")),
        (places.locale, "en", "en"),
        (places.locale, "KO-kr", "ko-KR"),
        (places.locale, "zh-hant-tw", "zh-Hant-TW"),
        (places.locale, "es-419", "es-419"),
        (places.locale, "de-DE-1996", "de-DE-1996"),
        (places.locale, "sr-Latn-RS-u-nu-latn", "sr-Latn-RS-u-nu-latn"),
        (places.time_zone, "Asia/Seoul", "Asia/Seoul"),
        (places.time_zone, "UTC", "UTC"),
        (places.country, "kr", "KR"),
    ],
)
def test_value_is_brought_to_its_normal_form(reader: Callable[[str], str], given: str, normal: str) -> None:
    assert reader(given) == normal
    assert reader(normal) == normal


@pytest.mark.parametrize(
    ("reader", "given"),
    [
        (contact_points.phone_number, "821012345678"),
        (contact_points.phone_number, "+82 10 1234 5678"),
        (contact_points.phone_number, "+8210"),
        (contact_points.phone_number, "+999123456789"),
        (contact_points.phone_number, "+12001234567"),
        (contact_points.phone_number, "+8210123456781234"),
        (contact_points.phone_number, "+٨٢١٠١٢٣٤٥٦٧٨"),
        (contact_points.phone_number, "+821012345678\n"),
        (contact_points.mail_address, "anna"),
        (contact_points.mail_address, "anna@"),
        (contact_points.mail_address, "anna@localhost"),
        (contact_points.mail_address, "anna@[127.0.0.1]"),
        (contact_points.mail_address, "Anna <anna@example.org>"),
        (contact_points.mail_address, "anna@example.org\r\nBcc: x@example.org"),
        (contact_points.mail_address, "안나@example.org"),
        (contact_points.mail_address, f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 20}.org"),
        (contact_points.mail_address, "an\0na@example.org"),
        (contact_points.apns_token, "a" * 31),
        (contact_points.apns_token, "a" * 201),
        (contact_points.apns_token, "g" * 64),
        (contact_points.apns_token, "٣" * 64),
        (contact_points.apns_token, "a" * 64 + "\n"),
        (contact_points.android_token, "x" * 4097),
        (contact_points.android_token, "a b"),
        (contact_points.android_token, "tökèn"),
        (contact_points.android_token, "a\0b"),
        (contact_points.push_endpoint, "http://push.example.com/a"),
        (contact_points.push_endpoint, "https:///a"),
        (contact_points.push_endpoint, "https://user@push.example.com/a"),
        (contact_points.push_endpoint, "https://push.example.com/a#b"),
        (contact_points.push_endpoint, "https://push.example.com:99999/a"),
        (contact_points.push_endpoint, "https://[::1/a"),
        (contact_points.push_endpoint, "https://127.0.0.1:8443/a"),
        (contact_points.push_endpoint, "https://2130706433/a"),
        (contact_points.push_endpoint, "https://metadata.google.internal/a"),
        (contact_points.push_endpoint, "https://[fd00:ec2::254]/a"),
        (partial(contact_points.push_endpoint, private=True), "http://127.0.0.1:8080/a"),
        (contact_points.push_endpoint, "https://push.example.com/" + "a" * 2048),
        (contact_points.push_endpoint, "https://push.example.com/a b"),
        (contact_points.p256dh_key, base64url(OFF_CURVE)),
        (contact_points.p256dh_key, base64url(b"\x02" + POINT[1:33])),
        (contact_points.p256dh_key, base64url(b"\x05" + POINT[1:])),
        (contact_points.p256dh_key, base64url(POINT + b"x")),
        (contact_points.p256dh_key, base64.b64encode(b"\xfb" * 65).decode()),
        (contact_points.push_auth, base64url(AUTH[:-1])),
        (contact_points.push_auth, base64url(AUTH + b"x")),
        (contact_points.push_auth, "a"),
        (contact_points.push_auth, "===="),
        (places.locale, "ko_KR"),
        (places.locale, "k"),
        (places.locale, "en-"),
        (places.locale, "en-x"),
        (places.locale, "en-" + "abcde-" * 6 + "abcde"),
        (places.locale, "en\0"),
        (places.time_zone, "Asia/Atlantis"),
        (places.time_zone, "asia/seoul"),
        (places.time_zone, "../../etc/passwd"),
        (places.time_zone, "Factory"),
        (places.country, "XX"),
        (places.country, "KOR"),
        (places.country, "\u017fe"),
    ],
)
def test_malformed_value_is_refused(reader: Callable[[str], str], given: str) -> None:
    with pytest.raises(Malformed):
        reader(given)
