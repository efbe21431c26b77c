"""What every mail provider makes of a message before its own protocol begins."""

from datetime import datetime

from clarion.internal.content.v1.rendered_pb2 import MailFrame, RenderedMail
from clarion_channels.mail.attachments import Attachment
from clarion_channels.mail.compose import FrameMismatch, compose, literal_frame
from clarion_channels.mail.frames_source import FrameSource
from clarion_channels.mail.headers import Mailbox, MailHeaders, check_address
from clarion_channels.mail.unsubscribe import ways_out
from clarion_channels.port import Message


class NotForMail(ValueError):
    """Address or content belongs to another channel."""


def headers_of(message: Message, sender: Mailbox, now: datetime, inbound_domain: str | None = None) -> MailHeaders:
    """The header of a message; its Message-ID stays over retries. Raises `NotForMail` and `HeaderError`.

    Mail to `inbound_domain` reaches the tracker: with it people may unsubscribe by mail as well.
    """
    if message.address.WhichOneof("kind") != "email" or message.content.WhichOneof("content") != "mail":
        raise NotForMail("address or content is not for mail")
    to = message.address.email
    recipient = Mailbox(check_address("To", to.address), to.display_name)
    unsubscribe = ways_out(message.content.mail.unsubscribe_url, inbound_domain)
    return MailHeaders(
        sender,
        recipient,
        now,
        f"{message.delivery_id}@{sender.address.rpartition('@')[2]}",
        unsubscribe=unsubscribe,
        one_click=bool(unsubscribe),
    )


async def frame_of(mail: RenderedMail, frames: FrameSource) -> MailFrame:
    """The frame of a mail, stored or made of its literal bodies. Raises `FrameUnavailable` and `FrameMismatch`."""
    if mail.frame_sha256:
        return await frames.get(mail.frame_sha256)
    if not mail.literal.text and not mail.literal.html:
        raise FrameMismatch("the mail has neither a frame nor a literal body")
    return literal_frame(mail.literal)


async def mime_of(message: Message, headers: MailHeaders, frames: FrameSource) -> bytes:
    """The whole mail, for providers that take MIME. Raises `FrameUnavailable`, `FrameMismatch` and `HeaderError`."""
    mail = message.content.mail
    return compose(await frame_of(mail, frames), mail, headers, attachments_of(mail))


def attachments_of(mail: RenderedMail) -> tuple[Attachment, ...]:
    """The files that go with a mail."""
    return tuple(
        Attachment(each.filename, each.content_type, each.content, each.content_id) for each in mail.attachments
    )
