"""Signed links: what a tracking link says of its delivery, so that it counts even after the delivery was pruned.

A token is base64url of version (1 byte) ‖ app id (4) ‖ delivery id (16) ‖ category id (4) ‖ template version (4) ‖
country (2) ‖ channel (1) ‖ HMAC-SHA256 truncated to 16 bytes (RFC 2104 §5 allows half): 48 bytes, 64 characters. The
MAC covers a purpose as well, so that a token of one purpose never serves another under the same key.
"""

import base64
import hmac
import re
import struct
from dataclasses import dataclass
from uuid import UUID

from clarion_kit.vocabulary import Channel

_OPEN = b"clarion open link\0"
_VERSION = 1
_FIELDS = struct.Struct(">BI16sII2sB")
_MAC_BYTES = 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]{64}")
_CHANNELS = frozenset(Channel)
_NO_COUNTRY = "\0\0"


@dataclass(frozen=True, slots=True)
class OpenLink:
    """The delivery behind an open pixel. `template_version` 0: no template; `country`: ISO 3166-1 alpha-2 or empty."""

    app_id: int
    delivery_id: UUID
    category_id: int
    template_version: int
    country: str
    channel: Channel


def sign_open(key: bytes, link: OpenLink) -> str:
    """The token of a link, 64 characters that need no escaping in a URL.

    Raises ValueError for a number that is no unsigned 32-bit integer or a country that is not two ASCII characters.
    """
    country = (link.country or _NO_COUNTRY).encode()
    if len(country) != 2 or not country.isascii():
        raise ValueError("a country is two ASCII characters or empty")
    try:
        fields = _FIELDS.pack(
            _VERSION,
            link.app_id,
            link.delivery_id.bytes,
            link.category_id,
            link.template_version,
            country,
            link.channel,
        )
    except struct.error:
        raise ValueError("a number of the link does not fit 32 bits") from None
    return base64.urlsafe_b64encode(fields + _mac(key, fields)).decode()


def verify_open(key: bytes, token: str) -> OpenLink | None:
    """The link of a token signed under `key`, None for anything else. Takes as long for a near miss as for any other."""
    if _TOKEN.fullmatch(token) is None:
        return None
    signed = base64.urlsafe_b64decode(token)
    fields, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, fields)):
        return None
    version, app_id, delivery_id, category_id, template_version, country, channel = _FIELDS.unpack(fields)
    if version != _VERSION or channel not in _CHANNELS:
        return None
    text = country.decode()
    return OpenLink(
        app_id=app_id,
        delivery_id=UUID(bytes=delivery_id),
        category_id=category_id,
        template_version=template_version,
        country="" if text == _NO_COUNTRY else text,
        channel=Channel(channel),
    )


def _mac(key: bytes, fields: bytes) -> bytes:
    return hmac.digest(key, _OPEN + fields, "sha256")[:_MAC_BYTES]
