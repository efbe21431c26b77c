"""The JSON of SendGrid's Mail Send, checked and taken apart.

Source: SendGrid, "Mail Send" and "Mail Send errors".
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clarion_sandbox.smtp.command import SyntaxFault, check_mailbox

_MAX_PERSONALIZATIONS = 1000
_MAX_RECIPIENTS = 1000
_MAX_CUSTOM_ARGS_BYTES = 10_000
_MAX_SUBSTITUTION_BYTES = 10_000
_MAX_CATEGORIES = 10
_RESERVED_HEADERS = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)


class ShapeError(Exception):
    """SendGrid would refuse the request; ``field`` names the part, None where it is the whole."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address, and the name beside it."""

    email: str
    name: str


@dataclass(frozen=True, slots=True)
class File:
    """An attachment; inline where the HTML names it by its ``content_id``."""

    name: str
    content_type: str
    content: str
    """Base64."""
    content_id: str
    is_inline: bool


@dataclass(frozen=True, slots=True)
class Personalized:
    """One mail of the request, as its recipient gets it: everything replaced and merged."""

    index: int
    to: Mailbox
    subject: str
    contents: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    custom_args: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MailSend:
    """A whole request."""

    sender: Mailbox
    mails: Sequence[Personalized]
    categories: Sequence[str]
    sandbox: bool
    files: Sequence[File] = ()


def parse(body: bytes) -> MailSend:
    """The request. Raises ShapeError."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise ShapeError(None, "Bad Request") from error
    if not isinstance(document, dict):
        raise ShapeError(None, "Bad Request")
    personalizations = document.get("personalizations")
    if not isinstance(personalizations, list) or not personalizations:
        raise ShapeError("personalizations", "The personalizations field is required and must have at least one.")
    if len(personalizations) > _MAX_PERSONALIZATIONS:
        raise ShapeError("personalizations", f"Limited to {_MAX_PERSONALIZATIONS} personalizations per API request.")
    contents = _contents(document.get("content"))
    mails: list[Personalized] = []
    for index, entry in enumerate(personalizations):
        mails += _personalized(document, entry, index, contents)
    _check_recipients(mails)
    categories = document.get("categories", [])
    if not isinstance(categories, list) or len(categories) > _MAX_CATEGORIES:
        raise ShapeError("categories", f"At most {_MAX_CATEGORIES} categories.")
    return MailSend(
        _mailbox(document.get("from"), "from"),
        mails,
        [str(category) for category in categories],
        _sandbox(document),
        _files(document.get("attachments", [])),
    )


def _files(value: object) -> Sequence[File]:
    if not isinstance(value, list):
        raise ShapeError("attachments", "The attachments parameter is an array.")
    files: list[File] = []
    for index, entry in enumerate(value):
        field = f"attachments.{index}"
        texts = _texts({"attachment": entry}, "attachment", field)
        content, name = texts.get("content", ""), texts.get("filename", "")
        try:
            base64.b64decode(content, validate=True)
        except ValueError as error:
            raise ShapeError(f"{field}.content", "The attachment content must be base64 encoded.") from error
        if not content or not name:
            raise ShapeError(field, "The content and the filename of an attachment are required.")
        kind = texts.get("type") or "application/octet-stream"
        content_id, disposition = texts.get("content_id", ""), texts.get("disposition", "attachment")
        if disposition not in ("inline", "attachment"):
            raise ShapeError(f"{field}.disposition", "The disposition is inline or attachment.")
        if not all(text.isprintable() and '"' not in text for text in (name, kind, content_id)):
            raise ShapeError(field, "An attachment's fields may hold neither quotes nor control characters.")
        files.append(File(name, kind, content, content_id, disposition == "inline" and bool(content_id)))
    return files


def _contents(value: object) -> Sequence[tuple[str, str]]:
    if not isinstance(value, list) or not value:
        raise ShapeError("content", "Unless a valid template_id is provided, the content parameter is required.")
    contents: list[tuple[str, str]] = []
    for index, entry in enumerate(value):
        kind, text = (entry.get("type"), entry.get("value")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(text, str) or not kind or not text:
            raise ShapeError(
                f"content.{index}.value", "The content value must be a string at least one character in length."
            )
        contents.append((kind, text))
    kinds = [kind for kind, _ in contents]
    if "text/plain" in kinds[1:]:
        raise ShapeError("content", "If present, text/plain must be first.")
    return contents


def _personalized(
    document: dict[str, object], entry: object, index: int, contents: Sequence[tuple[str, str]]
) -> Sequence[Personalized]:
    field = f"personalizations.{index}"
    if not isinstance(entry, dict):
        raise ShapeError(field, "A personalization is an object.")
    recipients = entry.get("to")
    if not isinstance(recipients, list) or not recipients:
        raise ShapeError(f"{field}.to", "The to array is required for all personalization objects.")
    subject = entry.get("subject", document.get("subject"))
    if not isinstance(subject, str) or not subject:
        raise ShapeError(f"{field}.subject", "The subject is required.")
    custom_args = _texts(document, "custom_args") | _texts(entry, "custom_args", field)
    if len(json.dumps(custom_args).encode()) >= _MAX_CUSTOM_ARGS_BYTES:
        raise ShapeError(f"{field}.custom_args", "Custom arguments are limited to 10000 bytes.")
    headers = _texts(document, "headers") | _texts(entry, "headers", field)
    for name, value in headers.items():
        if name.lower() in _RESERVED_HEADERS or not value.isascii() or not value.isprintable():
            raise ShapeError(f"{field}.headers", "A header is reserved or not ASCII.")
    values = _texts(entry, "substitutions", field)
    if sum(len(tag.encode()) + len(value.encode()) for tag, value in values.items()) > _MAX_SUBSTITUTION_BYTES:
        raise ShapeError(f"{field}.substitutions", "Substitutions are limited to 10000 bytes.")
    return [
        Personalized(
            index,
            _mailbox(recipient, f"{field}.to.{number}"),
            _replace(subject, values),
            [(kind, _replace(text, values)) for kind, text in contents],
            headers,
            custom_args,
        )
        for number, recipient in enumerate(recipients)
    ]


def _check_recipients(mails: Sequence[Personalized]) -> None:
    if len(mails) > _MAX_RECIPIENTS:
        raise ShapeError("personalizations", f"There is a limit of {_MAX_RECIPIENTS} total recipients per request.")
    seen: set[str] = set()
    for mail in mails:
        address = mail.to.email.lower()
        if address in seen:
            raise ShapeError("personalizations", "Each email address should be unique between to, cc, and bcc.")
        seen.add(address)


def _mailbox(value: object, field: str) -> Mailbox:
    email, name = (value.get("email"), value.get("name", "")) if isinstance(value, dict) else (None, "")
    if not isinstance(email, str) or not isinstance(name, str):
        raise ShapeError(f"{field}.email", "The email parameter is required.")
    try:
        check_mailbox(email, utf8=False)
    except SyntaxFault as fault:
        raise ShapeError(f"{field}.email", "Does not contain a valid address.") from fault
    return Mailbox(email, name)


def _texts(parent: dict[str, object], name: str, field: str = "") -> dict[str, str]:
    value = parent.get(name, {})
    where = f"{field}.{name}" if field else name
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ShapeError(where, "An object of strings is required.")
    return value


def _replace(text: str, values: Mapping[str, str]) -> str:
    for tag, value in values.items():
        text = text.replace(tag, value)
    return text


def _sandbox(document: dict[str, object]) -> bool:
    settings = document.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True
