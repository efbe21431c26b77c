"""What a notification's content must be like before anything is stored. For every door that takes one."""

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.content_pb2 import Content
from clarion_channels.mail.rules import check_files, check_inline, check_mail
from clarion_channels.push.rules import check_push
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel

MAX_SMS_CHARACTERS = 1_600


def check_content(content: Content, faults: Faults) -> None:
    """Faults of a literal content, by its fields: `push.title`."""
    faults.require("push", bool(content_channels(content)), "content for at least one channel is required")
    if content.HasField("push"):
        with faults.within("push."):
            check_push(content.push, faults)
    if content.HasField("sms") and faults.text("sms.text", content.sms.text, max_bytes=6_400, lines=True):
        faults.require(
            "sms.text", len(content.sms.text) <= MAX_SMS_CHARACTERS, f"longer than {MAX_SMS_CHARACTERS:,} characters"
        )
    if content.HasField("mail"):
        with faults.within("mail."):
            check_mail(content.mail, faults)


def check_attachments(notification: Notification, faults: Faults) -> None:
    """Faults of a notification's files, and of a literal HTML body that shows files it has not."""
    attachments = notification.attachments
    check_files(attachments, len(notification.recipient_ids), faults)
    if notification.WhichOneof("body") != "content":
        return
    content = notification.content
    if attachments and not content.HasField("mail"):
        faults.add("attachments", "the content has no mail for them to go with")
    with faults.within("content.mail."):
        check_inline(content.mail.html, attachments, faults)


def content_channels(content: Content) -> frozenset[Channel]:
    """Channels that a content has something for."""
    found: set[Channel] = set()
    if content.HasField("push"):
        found |= {Channel.IOS, Channel.ANDROID, Channel.WEB}
    if content.HasField("sms"):
        found.add(Channel.SMS)
    if content.HasField("mail"):
        found.add(Channel.EMAIL)
    return frozenset(found)
