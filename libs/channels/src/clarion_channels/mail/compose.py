"""From a frame and a mail's own parts to the message as it goes over the wire."""

import re
from collections.abc import Sequence
from html import escape

from clarion.internal.content.v1.rendered_pb2 import MailFrame, RenderedMail
from clarion.types.v1.content_pb2 import MailContent
from clarion_channels.clicks import NO_CLICKS, Clicks
from clarion_channels.mail.attachments import Attachment, wrap
from clarion_channels.mail.frame import Marker, Part, build_frame
from clarion_channels.mail.headers import MailHeaders, render
from clarion_channels.mail.hrefs import href, linked_html
from clarion_channels.mail.quoted_printable import encode

_MIME = b"MIME-Version: 1.0\r\nContent-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n"
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)


class FrameMismatch(ValueError):
    """The mail has no value for a slot of its frame, or the frame has a segment this version does not know."""


def compose(
    frame: MailFrame, mail: RenderedMail, headers: MailHeaders, attachments: Sequence[Attachment] = ()
) -> bytes:
    """The whole RFC 5322 message: 7-bit, CRLF line ends, body lines ≤ 76 characters, dots not yet stuffed.

    Slot values are plain text here: escaping for HTML is done where they are rendered. A frame that was stored comes
    through `frame.verify_frame`. Inline images stand in a multipart/related around the body, files in a multipart/mixed
    around that. Raises `FrameMismatch`, and `headers.HeaderError` for a value that would break the header.
    """
    content_type = frame.content_type
    transfer_encoding = b"7bit" if content_type.startswith("multipart/") else b"quoted-printable"
    body = _body(frame, mail)
    if attachments:
        content_type, body = wrap(content_type, transfer_encoding, body, attachments)
        transfer_encoding = b"7bit"
    return render(headers, mail.subject) + _MIME % (content_type.encode("ascii"), transfer_encoding) + body


def literal_frame(content: MailContent) -> MailFrame:
    """The frame of a mail without a template, the open pixel at the end of its HTML. Raises `ValueError` when empty."""
    text: list[Part] = [content.text] if content.text else []
    html: list[Part] = [*_around_pixel(content.html)] if content.html else []
    return build_frame(text, html)


def pixel_html(url: str) -> str:
    """The open pixel's element."""
    return f'<img src="{escape(url)}" width="1" height="1" alt="">'


def href_of(link: MailFrame.Link, slots: Sequence[str]) -> str:
    """The value of a link's `href` as the template has it. Raises `FrameMismatch`."""
    pieces: list[str] = []
    for piece in link.pieces:
        if piece.WhichOneof("part") == "slot":
            pieces.append(slot_of(piece.slot, slots))
        else:
            pieces.append(piece.literal)
    return "".join(pieces)


def slot_of(index: int, slots: Sequence[str]) -> str:
    """The value of a slot. Raises `FrameMismatch`."""
    if index >= len(slots):
        raise FrameMismatch(f"slot {index} of the frame has no value, the mail has {len(slots)}")
    return slots[index]


def clicks_of(mail: RenderedMail) -> Clicks:
    """What signs the mail's links."""
    return Clicks(mail.links) if mail.HasField("links") else NO_CLICKS


def _body(frame: MailFrame, mail: RenderedMail) -> bytes:
    pieces: list[bytes] = []
    slots = mail.slots
    clicks = clicks_of(mail)
    encoded: dict[int, bytes] = {}
    for segment in frame.segments:
        kind = segment.WhichOneof("part")
        if kind == "literal":
            pieces.append(segment.literal)
        elif kind == "slot":
            index = segment.slot
            value = encoded.get(index)
            if value is None:
                value = encoded[index] = encode(slot_of(index, slots))
            pieces.append(value)
        elif kind == "link":
            link = segment.link
            pieces.append(encode(href(clicks, link.number, href_of(link, slots))))
        elif kind == "linked_slot":
            linked = segment.linked_slot
            pieces.append(encode(linked_html(clicks, linked.number, slot_of(linked.slot, slots))))
        elif kind == "open_pixel":
            if mail.open_pixel_url:
                pieces.append(encode(pixel_html(mail.open_pixel_url)))
        else:
            raise FrameMismatch("the frame has a segment of an unknown kind")
    return b"".join(pieces)


def _around_pixel(html: str) -> tuple[Part, ...]:
    end = max((match.start() for match in _BODY_END.finditer(html)), default=len(html))
    return html[:end], Marker.OPEN_PIXEL, html[end:]
