"""Contact data as it may come in: each function gives the normal form of a value or raises `Malformed`."""

import base64
import binascii
import re

import phonenumbers
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from email_validator import EmailNotValidError, validate_email

from clarion_channels.public_hosts import ForbiddenUrl, target_of
from clarion_preference.malformed import Malformed

_APNS_TOKEN = re.compile(r"[0-9A-Fa-f]{32,200}")
_ANDROID_TOKEN = re.compile(r"[!-~]{1,4096}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")

_UNCOMPRESSED_POINT = 0x04
_POINT_BYTES = 65
_AUTH_BYTES = 16


def apns_token(token: str) -> str:
    """A device token in lower case. Its length is Apple's to choose; today's have 64 digits."""
    if not _APNS_TOKEN.fullmatch(token):
        raise Malformed("must be 32-200 hexadecimal digits")
    return token.lower()


def android_token(token: str) -> str:
    """A registration token, as it is."""
    if not _ANDROID_TOKEN.fullmatch(token):
        raise Malformed("must be 1-4096 printable ASCII characters without spaces")
    return token


def push_endpoint(url: str, *, private: bool = False) -> str:
    """A push service's URL (RFC 8030), as it is; `private`: of any host. Where its name leads is seen when it is dialled."""
    try:
        tls = target_of(url, private=private).tls
    except ForbiddenUrl as forbidden:
        raise Malformed(f"must be an https URL of a public host: {forbidden}") from None
    if not tls:
        raise Malformed("must be an https URL")
    return url


def p256dh_key(text: str) -> str:
    """A browser's public key (RFC 8291), or a VAPID key (RFC 8292): an uncompressed point on P-256, in base64url without padding."""
    key = _base64url(text)
    if len(key) != _POINT_BYTES or key[0] != _UNCOMPRESSED_POINT:
        raise Malformed("must be an uncompressed P-256 point: 65 bytes, the first 0x04")
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key)
    except ValueError:
        raise Malformed("is not a point on P-256") from None
    return _unpadded(key)


def push_auth(text: str) -> str:
    """A browser's authentication secret (RFC 8291), in base64url without padding."""
    secret = _base64url(text)
    if len(secret) != _AUTH_BYTES:
        raise Malformed("must be 16 bytes")
    return _unpadded(secret)


def phone_number(e164: str) -> str:
    """A number in E.164 that its country's numbering plan knows (libphonenumber's metadata)."""
    if not _E164.fullmatch(e164):
        raise Malformed('must be E.164: "+" and 7-15 digits')
    try:
        number = phonenumbers.parse(e164, None)
    except phonenumbers.NumberParseException:
        raise Malformed("has no known country code") from None
    if not phonenumbers.is_possible_number(number) or not phonenumbers.is_valid_number(number):
        raise Malformed("is not in its country's numbering plan")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def mail_address(address: str) -> str:
    """An RFC 5321 address, its domain in lower-case ASCII (IDNA 2008). Nothing is looked up in the DNS."""
    try:
        checked = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise Malformed("must be an RFC 5321 mail address with a public domain") from None
    if checked.ascii_email is None:
        raise Malformed("must have an ASCII local part")
    return checked.ascii_email


def _base64url(text: str) -> bytes:
    """Accepts what browsers give (no padding) and what libraries make of it (padding)."""
    if not _BASE64URL.fullmatch(text):
        raise Malformed("must be base64url")
    bare = text.rstrip("=")
    try:
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        raise Malformed("must be base64url") from None


def _unpadded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
