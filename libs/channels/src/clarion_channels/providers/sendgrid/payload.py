"""From mails to the JSON of a Mail Send request: pure rules, no I/O.

Source: www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send.
"""

import json
from base64 import b64encode
from collections.abc import Sequence

from clarion_channels.mail.attachments import Attachment
from clarion_channels.mail.headers import Mailbox, unsubscribe_fields
from clarion_channels.mail.receipt import DELIVERY_ID
from clarion_channels.providers.sendgrid.mails import Mail, contents

MAX_REQUEST_BYTES = 30 * 1000 * 1000

# Opens, clicks and unsubscribing are followed by links of our own; SendGrid's would rewrite them.
_TRACKING = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
}


def build_body(
    mails: Sequence[Mail], sender: Mailbox, categories: Sequence[str] = (), *, sandbox: bool = False
) -> bytes:
    """The request's JSON for mails of one group. Raises `HeaderError`."""
    document: dict[str, object] = {
        "from": _mailbox(sender),
        "personalizations": [_personalization(mail, shared=len(mails) > 1) for mail in mails],
        "content": [{"type": f"text/{body.subtype}", "value": text} for body, text in contents(mails)],
        "tracking_settings": _TRACKING,
    }
    if mails[0].attachments:
        document["attachments"] = [_attachment(each) for each in mails[0].attachments]
    if categories:
        document["categories"] = list(categories)
    if sandbox:
        document["mail_settings"] = {"sandbox_mode": {"enable": True}}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _personalization(mail: Mail, *, shared: bool) -> dict[str, object]:
    document: dict[str, object] = {
        "to": [_mailbox(mail.headers.recipient)],
        "subject": mail.message.content.mail.subject,
        "headers": {"Message-ID": f"<{mail.headers.message_id}>", **unsubscribe_fields(mail.headers)},
        "custom_args": {DELIVERY_ID: str(mail.message.delivery_id)},
    }
    if shared and mail.substitutions:
        document["substitutions"] = mail.substitutions
    return document


def _attachment(attachment: Attachment) -> dict[str, str]:
    document = {
        "content": b64encode(attachment.content).decode("ascii"),
        "type": attachment.media_type,
        "filename": attachment.filename,
    }
    if attachment.content_id:
        return {**document, "disposition": "inline", "content_id": attachment.content_id}
    return {**document, "disposition": "attachment"}


def _mailbox(mailbox: Mailbox) -> dict[str, str]:
    return {"email": mailbox.address, "name": mailbox.name} if mailbox.name else {"email": mailbox.address}
