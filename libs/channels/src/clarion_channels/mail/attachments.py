"""Attached files and inline images (RFC 2183, RFC 2231, RFC 2387, RFC 2392)."""

import hashlib
import re
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from clarion_channels.mail.headers import HeaderError

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}", re.IGNORECASE)
_CONTENT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PATH_OR_HIDDEN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls of the writing direction among them: they let "exe.fdp" read as "pdf.exe" and the other way round."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9 !#$&+,.=@^_`{}~-]*")
_UNENCODED = "!#$&+-.^_`|~"
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail. With a `content_id` it is an inline image, which HTML names as `cid:<content_id>`."""

    filename: str
    media_type: str
    content: bytes
    content_id: str = ""


def is_media_type(text: str) -> bool:
    """Whether it is the type of a file, without parameters; those of multiparts and messages are none."""
    return _MEDIA_TYPE.fullmatch(text) is not None and not text.lower().startswith(("multipart/", "message/"))


def is_content_id(text: str) -> bool:
    """Whether it is what HTML may name as `cid:<text>`."""
    return _CONTENT_ID.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Whether it names a file and nothing else: no path, no control character, none that turns the writing around."""
    return text not in ("", ".", "..") and _PATH_OR_HIDDEN.search(text) is None


def check_attachment(attachment: Attachment) -> None:
    """Raise `HeaderError` for a name, type or id that would break the header; multipart and message types included."""
    if not is_media_type(attachment.media_type):
        raise HeaderError("Content-Type: not the media type of a file")
    if attachment.content_id and not is_content_id(attachment.content_id):
        raise HeaderError("Content-ID: not 1-64 letters, digits, dots, hyphens and underscores")
    if len(attachment.filename) > _MAX_NAME or _CONTROL.search(attachment.filename):
        raise HeaderError("Content-Disposition: a file name with a control character, or over 255 characters")


def wrap(
    content_type: str, transfer_encoding: bytes, body: bytes, attachments: Sequence[Attachment]
) -> tuple[str, bytes]:
    """Content type and body of a mail whose own body is `body`, with its inline images and its files around it.

    The same input gives the same bytes. Raises `HeaderError`.
    """
    for kind, chosen in (
        ("related", [each for each in attachments if each.content_id]),
        ("mixed", [each for each in attachments if not each.content_id]),
    ):
        if not chosen:
            continue
        # RFC 2387 asks for the type of the root part.
        extra = f'; type="{content_type.partition(";")[0]}"' if kind == "related" else ""
        boundary = f"=_{_digest(kind, content_type, chosen)}"
        root = b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (
            content_type.encode("ascii"),
            transfer_encoding,
            body,
        )
        delimiter = f"--{boundary}\r\n".encode("ascii")
        pieces = [delimiter, root, *(delimiter + _part(each) for each in chosen), f"--{boundary}--\r\n".encode("ascii")]
        content_type, transfer_encoding = f'multipart/{kind}; boundary="{boundary}"{extra}', b"7bit"
        body = b"".join(pieces)
    return content_type, body


def _part(attachment: Attachment) -> bytes:
    check_attachment(attachment)
    lines = [f"Content-Type: {attachment.media_type}", "Content-Transfer-Encoding: base64"]
    if attachment.content_id:
        lines.append(f"Content-ID: <{attachment.content_id}>")
    lines.append(f"Content-Disposition: {_disposition(attachment)}")
    encoded = encodebytes(attachment.content).replace(b"\n", b"\r\n")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + encoded


def _disposition(attachment: Attachment) -> str:
    kind = "inline" if attachment.content_id else "attachment"
    name = attachment.filename
    if not name:
        return kind
    if len(name) <= 60 and _PLAIN_NAME.fullmatch(name):
        return f'{kind}; filename="{name}"'
    encoded = quote(name, safe=_UNENCODED)
    pieces = _continuations(encoded)
    if len(pieces) == 1:
        return f"{kind};\r\n filename*=utf-8''{encoded}"
    first, *rest = pieces
    fields = [f"filename*0*=utf-8''{first}", *(f"filename*{n}*={piece}" for n, piece in enumerate(rest, start=1))]
    return f"{kind};\r\n " + ";\r\n ".join(fields)


def _continuations(encoded: str) -> list[str]:
    """Pieces of at most 55 characters, none of which ends inside an escape (RFC 2231 §3)."""
    pieces: list[str] = []
    while encoded:
        cut = min(len(encoded), 55)
        if cut < len(encoded):
            escape = encoded.rfind("%", cut - 2, cut)
            cut = escape if escape >= 0 else cut
        pieces.append(encoded[:cut])
        encoded = encoded[cut:]
    return pieces


def _digest(kind: str, content_type: str, attachments: Sequence[Attachment]) -> str:
    digest = hashlib.sha256(f"{kind} {content_type}".encode())
    # Neither base64 nor quoted-printable text can hold "=_" (RFC 2045 §6.7), so the content need not be read for it.
    for each in attachments:
        digest.update(f" {each.filename!r} {each.media_type} {each.content_id} {len(each.content)} ".encode())
    return digest.hexdigest()[:24]
