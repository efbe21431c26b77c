"""base64url without padding, as JOSE (RFC 7515 §2) and Web Push use it."""

import base64
import binascii


def b64url_encode(data: bytes) -> str:
    """The unpadded base64url form of ``data``."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """The bytes of an unpadded base64url string.

    Raises:
        ValueError: padding, characters outside the alphabet, or an impossible length.
    """
    if "=" in text or not text.isascii():
        raise ValueError("not unpadded base64url")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
