from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.internal.content.v1.rendered_pb2 import RenderedMail
from clarion_channels.mail.attachments import Attachment
from clarion_channels.mail.compose import compose
from clarion_channels.mail.frame import build_frame
from clarion_channels.mail.headers import HeaderError, Mailbox, MailHeaders

FRAME = build_frame(["Hello ", 0], ['<p>Hello <img src="cid:logo"> ', 0, "</p>"])
HEADERS = MailHeaders(
    Mailbox("shop@example.com"), Mailbox("anna@example.org"), datetime(2026, 3, 1, tzinfo=UTC), "0192-7@example.com"
)
INVOICE = Attachment("invoice.pdf", "application/pdf", b"%PDF-1.7\n" + bytes(range(256)))
LOGO = Attachment("logo.png", "image/png", b"\x89PNG", content_id="logo")


def composed(*attachments: Attachment) -> bytes:
    return compose(FRAME, RenderedMail(subject="Hi", slots=["Zoë"]), HEADERS, attachments)


def read(message: bytes) -> EmailMessage:
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not any(part.defects for part in parsed.walk())
    return parsed


def structure(part: EmailMessage) -> object:
    if not part.is_multipart():
        return part.get_content_type()
    return part.get_content_type(), [structure(inner) for inner in part.iter_parts() if isinstance(inner, EmailMessage)]


def test_files_stand_beside_the_body_and_read_back_whole() -> None:
    parsed = read(composed(INVOICE))
    assert structure(parsed) == (
        "multipart/mixed",
        [("multipart/alternative", ["text/plain", "text/html"]), "application/pdf"],
    )
    [attached] = parsed.iter_attachments()
    assert isinstance(attached, EmailMessage)
    assert (attached.get_filename(), attached.get_content()) == ("invoice.pdf", INVOICE.content)
    plain = parsed.get_body(("plain",))
    assert plain is not None
    assert plain.get_content() == "Hello Zoë"


def test_inline_images_are_related_to_the_body_by_their_id() -> None:
    parsed = read(composed(INVOICE, LOGO))
    related = ("multipart/related", [("multipart/alternative", ["text/plain", "text/html"]), "image/png"])
    assert structure(parsed) == ("multipart/mixed", [related, "application/pdf"])
    [image] = [part for part in parsed.walk() if part.get_content_type() == "image/png"]
    assert (image["Content-ID"], image.get_content_disposition()) == ("<logo>", "inline")


def test_the_same_mail_gives_the_same_bytes() -> None:
    assert composed(INVOICE, LOGO) == composed(INVOICE, LOGO)


def test_a_mail_without_files_is_what_it_was() -> None:
    assert composed() == compose(FRAME, RenderedMail(subject="Hi", slots=["Zoë"]), HEADERS)


def test_everything_is_seven_bit_in_short_lines() -> None:
    message = composed(
        INVOICE, LOGO, Attachment("Rechnung für Zoë und 손님 " * 8 + ".pdf", "application/pdf", b"x" * 500)
    )
    assert message.isascii()
    assert all(len(line) <= 120 for line in message.split(b"\r\n"))
    assert message.count(b"\n") == message.count(b"\r\n")


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=120).map(str.strip).filter(bool)


@given(NAMES)
def test_any_printable_name_survives(name: str) -> None:
    message = message_from_bytes(composed(Attachment(name, "application/pdf", b"x")))
    assert [part.get_filename() for part in message.walk() if part.get_filename()] == [name]


@pytest.mark.parametrize(
    "bad",
    [
        Attachment("a\r\nBcc: x@example.org", "application/pdf", b""),
        Attachment("a" * 256, "application/pdf", b""),
        Attachment("a", "application/pdf\r\nX: y", b""),
        Attachment("a", "application/pdf; name=x", b""),
        Attachment("a", "multipart/mixed", b""),
        Attachment("a", "message/rfc822", b""),
        Attachment("a", "", b""),
        Attachment("a", "image/png", b"", content_id="a>\r\nX: y"),
    ],
)
def test_what_would_break_the_header_is_refused(bad: Attachment) -> None:
    with pytest.raises(HeaderError):
        composed(bad)


def test_one_click_needs_an_https_link() -> None:
    def fields(*unsubscribe: str) -> list[str]:
        headers = MailHeaders(
            HEADERS.sender, HEADERS.recipient, HEADERS.date, HEADERS.message_id, unsubscribe, one_click=True
        )
        return read(compose(FRAME, RenderedMail(subject="Hi", slots=[""]), headers)).keys()

    assert "List-Unsubscribe-Post" not in fields("mailto:off@u.example")
    assert "List-Unsubscribe-Post" in fields("mailto:off@u.example", "https://u.example/t")
