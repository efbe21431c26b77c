"""What a mail and the files that go with it must be like before they are taken: every fault named by its field."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from clarion.types.v1.content_pb2 import MailAttachment, MailContent
from clarion_channels.mail.attachments import is_content_id, is_file_name, is_media_type
from clarion_kit.validate import Faults

MAX_SUBJECT_BYTES = 998
MAX_TEXT_BYTES = 256 << 10
MAX_HTML_BYTES = 512 << 10
MAX_ATTACHMENTS = 10
MAX_ATTACHMENT_BYTES = 512 << 10
"""Of one file and of all of them."""
MAX_RECIPIENTS = 10
"""Of a notification with files: each recipient's delivery holds a copy."""

_SUBJECT_BREAKS = re.compile(r"[\x85\u2028\u2029]")
_CID = re.compile(r"""["'(=]\s*cid:([^"'()<>\s]{1,256})""", re.IGNORECASE)
"""In an attribute or a style's url(): a text that speaks of "cid:" names no part."""


def check_mail(mail: MailContent, faults: Faults) -> None:
    """Faults of a mail that is sent as it is."""
    if faults.text("subject", mail.subject, max_bytes=MAX_SUBJECT_BYTES):
        faults.require("subject", _SUBJECT_BREAKS.search(mail.subject) is None, "must be one line")
    if mail.html and not mail.text:
        faults.add("text", "is required beside html")
    else:
        faults.text("text", mail.text, max_bytes=MAX_TEXT_BYTES, lines=True)
    faults.text("html", mail.html, max_bytes=MAX_HTML_BYTES, required=False, lines=True)


def check_files(attachments: Sequence[MailAttachment], recipients: int, faults: Faults) -> None:
    """Faults of a notification's files, by their place: `attachments[0].filename`."""
    if not attachments:
        return
    faults.require("attachments", len(attachments) <= MAX_ATTACHMENTS, f"more than {MAX_ATTACHMENTS}")
    total = sum(len(each.content) for each in attachments)
    faults.require("attachments", total <= MAX_ATTACHMENT_BYTES, f"over {MAX_ATTACHMENT_BYTES} bytes together")
    faults.require("attachments", recipients <= MAX_RECIPIENTS, f"go to at most {MAX_RECIPIENTS} recipients")
    for position, each in enumerate(attachments[:MAX_ATTACHMENTS]):
        with faults.within(f"attachments[{position}]."):
            _check_file(each, faults)
    ids = [each.content_id for each in attachments if each.content_id]
    faults.require("attachments", len(set(ids)) == len(ids), "a content_id is given twice")


def check_inline(html: str, attachments: Sequence[MailAttachment], faults: Faults) -> None:
    """Faults of an HTML body that shows a file nobody attached."""
    if not html or "cid:" not in html.lower():
        return
    known = {each.content_id for each in attachments}
    missing = {unquote(found) for found in _CID.findall(html)} - known
    if missing:
        faults.add("html", f"shows cid:{min(missing)[:64]}, and no attachment has this content_id")


def _check_file(attachment: MailAttachment, faults: Faults) -> None:
    if faults.text("filename", attachment.filename, max_bytes=255):
        faults.require("filename", is_file_name(attachment.filename), "a name without a path or hidden characters")
    faults.require("content_type", is_media_type(attachment.content_type), 'the media type of a file, as "image/png"')
    size = len(attachment.content)
    faults.require("content", 1 <= size <= MAX_ATTACHMENT_BYTES, f"1 to {MAX_ATTACHMENT_BYTES} bytes")
    faults.require(
        "content_id", not attachment.content_id or is_content_id(attachment.content_id), "1-64 of A-Z a-z 0-9 . - _"
    )
