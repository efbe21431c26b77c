"""Signed links and return paths: what comes back says by itself whom it is about, even after the delivery was pruned.

Each is version (1 byte) ‖ fields ‖ HMAC-SHA256 truncated to 16 bytes (RFC 2104 §5 allows half). The MAC covers a purpose
as well, so that what was signed for one purpose never serves another under the same key. Only a page expires.

- open, and app events: app id (4) ‖ delivery id (16) ‖ category id (4) ‖ template version (4) ‖ country (2) ‖ channel (1),
  base64url: 64 characters.
- click: the fields of an open ‖ number of the link (2) ‖ MAC ‖ target, base64url without padding. Its MAC is made with a key
  of that delivery alone, so that whoever composes a mail signs its links and no others.
- unsubscribe: app id (4) ‖ recipient reference (16) ‖ category id (4) ‖ channel (1), base64url: 56 characters.
- page: app id (4) ‖ recipient reference (16) ‖ Unix seconds of its end (8), base64url: 60 characters.
- return path: account id (4) ‖ delivery id (16), base32 in lower case, since relays may change the case of a local part:
  62 characters with its prefix, of the 64 that RFC 5321 §4.5.3.1.1 allows.
"""

import base64
import hmac
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from clarion_kit.vocabulary import Channel

_OPEN = b"clarion open link\0"
_EVENT = b"clarion app event\0"
_CLICK_KEY = b"clarion click key\0"
_UNSUBSCRIBE = b"clarion unsubscribe link\0"
_PAGE = b"clarion preference page\0"
_RETURN = b"clarion return path\0"
_VERSION = 1
_FIELDS = struct.Struct(">BI16sII2sB")
_UNSUBSCRIBE_FIELDS = struct.Struct(">BI16sIB")
_PAGE_FIELDS = struct.Struct(">BI16sQ")
_RETURN_FIELDS = struct.Struct(">BI16s")
_LINK_NUMBER = struct.Struct(">H")
_MAC_BYTES = 16
MAX_TARGET_BYTES = 2_048
"""Longer targets are not tracked: browsers and relays cut URLs somewhere beyond."""
MAX_LINK_NUMBER = 65_535
_TOKEN = re.compile(r"[A-Za-z0-9_-]{64}")
_UNSUBSCRIBE_TOKEN = re.compile(r"[A-Za-z0-9_-]{56}")
_PAGE_TOKEN = re.compile(r"[A-Za-z0-9_-]{60}")
_RETURN_PREFIX = "b+"
_RETURN_LOCAL = re.compile(r"b\+([a-z2-7]{60})", re.IGNORECASE)
_MAX_CLICK_TOKEN = (_FIELDS.size + _LINK_NUMBER.size + _MAC_BYTES + MAX_TARGET_BYTES) * 4 // 3 + 4
_CLICK_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_TARGET = re.compile(r"https?://[A-Za-z0-9._~!$&'()*+,;=:@\[\]-]+(?:[/?#][!-~]*)?", re.IGNORECASE)
"""Visible ASCII, so that nothing of it ends a header, and an authority that no browser reads as a path."""
_CHANNELS = frozenset(Channel)
_NO_COUNTRY = "\0\0"


@dataclass(frozen=True, slots=True)
class OpenLink:
    """The delivery behind an open, a click or an app event. `template_version` 0: no template; `country`: ISO 3166-1 alpha-2
    or empty."""

    app_id: int
    delivery_id: UUID
    category_id: int
    template_version: int
    country: str
    channel: Channel


def sign_open(key: bytes, link: OpenLink) -> str:
    """The token of an open pixel, 64 characters that need no escaping in a URL.

    Raises ValueError for a number that is no unsigned 32-bit integer or a country that is not two ASCII characters.
    """
    fields = packed(link)
    return base64.urlsafe_b64encode(fields + _mac(key, _OPEN, fields)).decode()


def verify_open(key: bytes, token: str) -> OpenLink | None:
    """The link of a token signed under `key`, None for anything else. Takes as long for a near miss as for any other."""
    return _verified_delivery(key, _OPEN, token)


def sign_event(key: bytes, link: OpenLink) -> str:
    """The token that an app tells events of a delivery with, 64 characters. Raises ValueError as `sign_open`."""
    fields = packed(link)
    return base64.urlsafe_b64encode(fields + _mac(key, _EVENT, fields)).decode()


def verify_event(key: bytes, token: str) -> OpenLink | None:
    """The delivery of a token signed under `key`, None for anything else. Takes as long for a near miss as for any other."""
    return _verified_delivery(key, _EVENT, token)


def packed(link: OpenLink) -> bytes:
    """What a link says of its delivery, 32 bytes. Raises ValueError as `sign_open`."""
    country = (link.country or _NO_COUNTRY).encode()
    if len(country) != 2 or not country.isascii():
        raise ValueError("a country is two ASCII characters or empty")
    try:
        return _FIELDS.pack(
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


def _verified_delivery(key: bytes, purpose: bytes, token: str) -> OpenLink | None:
    if _TOKEN.fullmatch(token) is None:
        return None
    fields = _verified(key, purpose, base64.urlsafe_b64decode(token))
    return _unpacked(fields) if fields is not None else None


def _unpacked(fields: bytes) -> OpenLink | None:
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


@dataclass(frozen=True, slots=True)
class ClickLink:
    """A link that was followed: its delivery, its number in the message, and where it leads (http or https, visible ASCII)."""

    delivery: OpenLink
    number: int
    target: str


def click_key(key: bytes, delivery: bytes) -> bytes:
    """The key of one delivery's click links, 32 bytes; `delivery` is `packed`."""
    return hmac.digest(key, _CLICK_KEY + delivery, "sha256")


def is_trackable(target: str) -> bool:
    """Whether a click link may lead there: http or https, visible ASCII, at most 2,048 bytes."""
    return len(target) <= MAX_TARGET_BYTES and _TARGET.fullmatch(target) is not None


def sign_click(delivery_key: bytes, delivery: bytes, number: int, target: str) -> str:
    """The token of a click link: characters that need no escaping in a URL. `delivery_key`: its `click_key`.

    Raises ValueError for a target that is not trackable and a number over 65,535.
    """
    if not is_trackable(target):
        raise ValueError("a click link leads to http or https, in visible ASCII, at most 2,048 bytes")
    if not 0 <= number <= MAX_LINK_NUMBER:
        raise ValueError("the number of a link does not fit 16 bits")
    told = _LINK_NUMBER.pack(number)
    leads_to = target.encode("ascii")
    mac = hmac.digest(delivery_key, told + leads_to, "sha256")[:_MAC_BYTES]
    return base64.urlsafe_b64encode(delivery + told + mac + leads_to).rstrip(b"=").decode()


def verify_click(key: bytes, token: str) -> ClickLink | None:
    """The link of a token signed under `key`, None for anything else. Takes as long for a near miss as for any other."""
    if len(token) > _MAX_CLICK_TOKEN or len(token) % 4 == 1 or _CLICK_TOKEN.fullmatch(token) is None:
        return None
    signed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    at_mac = _FIELDS.size + _LINK_NUMBER.size
    fields, told, mac, leads_to = (
        signed[: _FIELDS.size],
        signed[_FIELDS.size : at_mac],
        signed[at_mac : at_mac + _MAC_BYTES],
        signed[at_mac + _MAC_BYTES :],
    )
    wanted = hmac.digest(click_key(key, fields), told + leads_to, "sha256")[:_MAC_BYTES]
    if not hmac.compare_digest(mac, wanted):
        return None
    # Bits that the last character has left over would let one link have several tokens.
    if base64.urlsafe_b64encode(signed).rstrip(b"=") != token.encode():
        return None
    delivery = _unpacked(fields)
    if delivery is None:
        return None
    return ClickLink(delivery, _LINK_NUMBER.unpack(told)[0], leads_to.decode("ascii"))


@dataclass(frozen=True, slots=True)
class UnsubscribeLink:
    """Who unsubscribes from what: a category on one channel."""

    app_id: int
    recipient_ref: UUID
    category_id: int
    channel: Channel


def sign_unsubscribe(key: bytes, link: UnsubscribeLink) -> str:
    """The token of a link, 56 characters that need no escaping in a URL; the same for the same link.

    Raises ValueError for a number that is no unsigned 32-bit integer.
    """
    try:
        fields = _UNSUBSCRIBE_FIELDS.pack(
            _VERSION, link.app_id, link.recipient_ref.bytes, link.category_id, link.channel
        )
    except struct.error:
        raise ValueError("a number of the link does not fit 32 bits") from None
    return base64.urlsafe_b64encode(fields + _mac(key, _UNSUBSCRIBE, fields)).decode()


def unsubscribe_url(base_url: str, key: bytes, link: UnsubscribeLink) -> str:
    """For List-Unsubscribe (RFC 8058): a POST to it unsubscribes, a GET shows a page that asks. `base_url`: the public
    URL of the tracker. Raises ValueError as `sign_unsubscribe`."""
    return f"{base_url.rstrip('/')}/u/{sign_unsubscribe(key, link)}"


def verify_unsubscribe(key: bytes, token: str) -> UnsubscribeLink | None:
    """The link of a token signed under `key`, None for anything else. Takes as long for a near miss as for any other."""
    if _UNSUBSCRIBE_TOKEN.fullmatch(token) is None:
        return None
    fields = _verified(key, _UNSUBSCRIBE, base64.urlsafe_b64decode(token))
    if fields is None:
        return None
    version, app_id, recipient_ref, category_id, channel = _UNSUBSCRIBE_FIELDS.unpack(fields)
    if version != _VERSION or channel not in _CHANNELS:
        return None
    return UnsubscribeLink(app_id, UUID(bytes=recipient_ref), category_id, Channel(channel))


@dataclass(frozen=True, slots=True)
class PageLink:
    """Whose preference page, and until when (aware, whole seconds). Whoever has the link may change their wishes."""

    app_id: int
    recipient_ref: UUID
    expire_at: datetime


def sign_page(key: bytes, link: PageLink) -> str:
    """The token of a link, 60 characters that need no escaping in a URL; a part of a second is left out.

    Raises ValueError for an app id that is no unsigned 32-bit integer, or an end before 1970.
    """
    try:
        fields = _PAGE_FIELDS.pack(_VERSION, link.app_id, link.recipient_ref.bytes, int(link.expire_at.timestamp()))
    except struct.error:
        raise ValueError("a number of the link does not fit") from None
    return base64.urlsafe_b64encode(fields + _mac(key, _PAGE, fields)).decode()


def page_url(base_url: str, key: bytes, link: PageLink) -> str:
    """The page's address. `base_url`: the public URL of the tracker. Raises ValueError as `sign_page`."""
    return f"{base_url.rstrip('/')}/p/{sign_page(key, link)}"


def verify_page(key: bytes, token: str, now: datetime) -> PageLink | None:
    """The link of a token signed under `key` that has not expired, None for anything else. Takes as long for a near miss
    as for any other."""
    if _PAGE_TOKEN.fullmatch(token) is None:
        return None
    fields = _verified(key, _PAGE, base64.urlsafe_b64decode(token))
    if fields is None:
        return None
    version, app_id, recipient_ref, expire_seconds = _PAGE_FIELDS.unpack(fields)
    if version != _VERSION or expire_seconds <= now.timestamp():
        return None
    return PageLink(app_id, UUID(bytes=recipient_ref), datetime.fromtimestamp(expire_seconds, UTC))


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """Where a mail's bounces belong: the account that sent it and the delivery."""

    lane_id: int
    delivery_id: UUID


def sign_return_path(key: bytes, path: ReturnPath) -> str:
    """The local part of an envelope sender: "b+" and 60 lower-case letters and digits.

    Raises ValueError for an account id that is no unsigned 32-bit integer.
    """
    try:
        fields = _RETURN_FIELDS.pack(_VERSION, path.lane_id, path.delivery_id.bytes)
    except struct.error:
        raise ValueError("the account id does not fit 32 bits") from None
    signed = base64.b32encode(fields + _mac(key, _RETURN, fields))
    return _RETURN_PREFIX + signed.decode().rstrip("=").lower()


def verify_return_path(key: bytes, local_part: str) -> ReturnPath | None:
    """What a local part in any case says, None where it was not signed under `key`."""
    matched = _RETURN_LOCAL.fullmatch(local_part)
    if matched is None:
        return None
    fields = _verified(key, _RETURN, base64.b32decode(matched[1] + "====", casefold=True))
    if fields is None:
        return None
    version, lane_id, delivery_id = _RETURN_FIELDS.unpack(fields)
    return ReturnPath(lane_id, UUID(bytes=delivery_id)) if version == _VERSION else None


def _verified(key: bytes, purpose: bytes, signed: bytes) -> bytes | None:
    """The fields of what was signed for `purpose`."""
    fields, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
    return fields if hmac.compare_digest(mac, _mac(key, purpose, fields)) else None


def _mac(key: bytes, purpose: bytes, fields: bytes) -> bytes:
    return hmac.digest(key, purpose + fields, "sha256")[:_MAC_BYTES]
