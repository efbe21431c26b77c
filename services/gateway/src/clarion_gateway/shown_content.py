"""Rendered content as its own app is shown it: what the recipient would have read, and no address."""

import email
from email.message import EmailMessage, MIMEPart
from email.policy import default

from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered, RenderedMail
from clarion.types.v1.content_pb2 import Content, MailContent
from clarion_channels.mail.quoted_printable import encode


class Unshowable(ValueError):
    """The content is not complete: its frame is missing or does not fit."""


def shown(rendered: Rendered, frame: MailFrame | None) -> Content:
    """Content of one channel. `frame` is the mail's, where it names one. Raises Unshowable."""
    match rendered.WhichOneof("content"):
        case "push":
            return Content(push=rendered.push)
        case "sms":
            return Content(sms=rendered.sms)
        case "mail":
            return Content(mail=_mail(rendered.mail, frame))
        case _:
            raise Unshowable("no content of a known kind")


def _mail(mail: RenderedMail, frame: MailFrame | None) -> MailContent:
    if not mail.frame_sha256:
        literal = mail.literal
        return MailContent(subject=mail.subject or literal.subject, text=literal.text, html=literal.html)
    if frame is None:
        raise Unshowable("the mail's frame is missing")
    message = email.message_from_bytes(_body(mail, frame), EmailMessage, policy=default)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return MailContent(
        subject=mail.subject,
        text=_text(text) if text is not None else "",
        html=_text(html) if html is not None else "",
    )


def _body(mail: RenderedMail, frame: MailFrame) -> bytes:
    """The frame with the mail's own values, its links as the template has them, and without its open pixel: what is looked at
    here must not count for this delivery."""
    transfer_encoding = "7bit" if frame.content_type.startswith("multipart/") else "quoted-printable"
    head = f"MIME-Version: 1.0\r\nContent-Type: {frame.content_type}\r\nContent-Transfer-Encoding: {transfer_encoding}\r\n\r\n"
    pieces = [head.encode("ascii")]
    for segment in frame.segments:
        match segment.WhichOneof("part"):
            case "literal":
                pieces.append(segment.literal)
            case "slot":
                pieces.append(encode(_slot(segment.slot, mail)))
            case "linked_slot":
                pieces.append(encode(_slot(segment.linked_slot.slot, mail)))
            case "link":
                pieces.append(encode(_href(segment.link, mail)))
    return b"".join(pieces)


def _href(link: MailFrame.Link, mail: RenderedMail) -> str:
    pieces = link.pieces
    return "".join(_slot(p.slot, mail) if p.WhichOneof("part") == "slot" else p.literal for p in pieces)


def _slot(index: int, mail: RenderedMail) -> str:
    if index >= len(mail.slots):
        raise Unshowable("the mail has no value for a slot of its frame")
    return mail.slots[index]


def _text(part: MIMEPart) -> str:
    content = part.get_content()
    return content.replace("\r\n", "\n") if isinstance(content, str) else ""
