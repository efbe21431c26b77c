"""What every mail provider sends: the whole MIME, read back by another parser; nothing in it can forge a header or a part."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1.address_pb2 import Address, ApnsDevice, MailAddress
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import MailAttachment, MailContent
from clarion_channels.mail.frame import frame_sha256
from clarion_channels.mail.frames_source import NoFrames
from clarion_channels.mail.headers import HeaderError, Mailbox, unsubscribe_fields
from clarion_channels.port import Message
from clarion_channels.providers.mailing import NotForMail, headers_of, mime_of

from .mail_messages import FRAME, Frames

GOLDEN = Path(__file__).parent / "golden" / "mail.eml"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")
SENDER = Mailbox("shop@example.com", "The Shop")
UNSUBSCRIBE = "https://t.example.com/u/" + "A" * 56
FILES = [
    MailAttachment(filename="Rechnung für Zoë.pdf", content_type="application/pdf", content=b"%PDF-1.7\n" * 12),
    MailAttachment(filename="logo.png", content_type="image/png", content=b"\x89PNG", content_id="logo"),
]


def message(mail: RenderedMail, name: str = "Zoë", address: str = "zoe@example.org") -> Message:
    to = Address(email=MailAddress(address=address, display_name=name))
    return Message(DELIVERY, to, Rendered(mail=mail), PRIORITY_NORMAL, NOW)


def framed(subject: str = "Order 7", **more: object) -> RenderedMail:
    mail = RenderedMail(subject=subject, frame_sha256=frame_sha256(FRAME), slots=["Zoë", "<b>Zoë</b>"])
    mail.MergeFrom(RenderedMail(**more))  # type: ignore[arg-type]  # by name, per case
    return mail


async def mime(mail: RenderedMail, name: str = "Zoë") -> bytes:
    made = message(mail, name)
    return await mime_of(made, headers_of(made, SENDER, NOW), Frames())


def read(content: bytes) -> EmailMessage:
    parsed = message_from_bytes(content, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert [defect for part in parsed.walk() for defect in part.defects] == []
    return parsed


def tree(part: EmailMessage) -> object:
    if not part.is_multipart():
        return part.get_content_type()
    return part.get_content_type(), [tree(inner) for inner in part.iter_parts() if isinstance(inner, EmailMessage)]


async def test_whole_mail_is_the_golden_one() -> None:
    pixel = "https://t.example.com/o/x.gif"
    content = await mime(framed(unsubscribe_url=UNSUBSCRIBE, open_pixel_url=pixel, attachments=FILES))
    assert content == GOLDEN.read_bytes()


def test_another_parser_reads_the_golden_mail() -> None:
    parsed = read(GOLDEN.read_bytes())

    assert tree(parsed) == (
        "multipart/mixed",
        [
            ("multipart/related", [("multipart/alternative", ["text/plain", "text/html"]), "image/png"]),
            "application/pdf",
        ],
    )
    assert (parsed["From"], parsed["To"]) == ("The Shop <shop@example.com>", "Zoë <zoe@example.org>")
    assert parsed["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>"
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    files = {part.get_filename(): part.get_content() for part in parsed.walk() if part.get_filename()}
    assert files == {file.filename: file.content for file in FILES}
    html = parsed.get_body(("html",))
    assert html is not None
    assert "x.gif" in html.get_content()


def test_account_with_an_inbound_domain_offers_a_way_by_mail_too() -> None:
    headers = headers_of(message(framed(unsubscribe_url=UNSUBSCRIBE)), SENDER, NOW, "in.example.com")
    assert unsubscribe_fields(headers) == {
        "List-Unsubscribe": f"<{UNSUBSCRIBE}>, <mailto:unsubscribe@in.example.com?subject={'A' * 56}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert unsubscribe_fields(headers_of(message(framed()), SENDER, NOW, "in.example.com")) == {}


async def test_mail_that_nobody_can_unsubscribe_from_has_no_such_field() -> None:
    assert "List-Unsubscribe" not in read(await mime(framed()))


async def test_file_of_a_literal_mail_stands_beside_its_text() -> None:
    mail = RenderedMail(subject="s", literal=MailContent(text="plain"), attachments=FILES[:1])
    made = message(mail)
    parsed = read(await mime_of(made, headers_of(made, SENDER, NOW), NoFrames()))
    assert tree(parsed) == ("multipart/mixed", ["text/plain", "application/pdf"])


def test_content_of_another_channel_is_refused() -> None:
    push = Message(DELIVERY, Address(ios=ApnsDevice(token="ab")), Rendered(), PRIORITY_NORMAL, NOW)
    with pytest.raises(NotForMail):
        headers_of(push, SENDER, NOW)


ANYTHING = st.text(max_size=60)
"""Line breaks, controls, encoded words, quotes: whatever gets past the edge one day."""


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
async def test_nothing_that_varies_can_add_a_field_or_a_part(
    subject: str, name: str, filename: str, media_type: str, content_id: str
) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in (subject, filename, media_type, content_id)]
    file = MailAttachment(filename=texts[1], content_type=texts[2], content=b"x", content_id=texts[3])
    try:
        content = await mime(framed(texts[0], attachments=[file]), name.encode("utf-8", "replace").decode())
    except HeaderError:
        return
    head, _, _ = content.partition(b"\r\n\r\n")
    fields = {line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")}
    known = {b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version", b"Content-Type"}
    assert fields == known | {b"Content-Transfer-Encoding"}
    assert len(message_from_bytes(content).get_payload()) == 2


@given(
    st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=200)), max_size=10),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200),
)
@settings(max_examples=60)
async def test_files_come_back_whole_from_any_nesting(
    given_files: list[tuple[bool, bytes]], with_html: bool, text: str
) -> None:
    files = [
        MailAttachment(
            filename=f"{number}.bin",
            content_type="application/octet-stream",
            content=content,
            content_id=f"c{number}" if inline else "",
        )
        for number, (inline, content) in enumerate(given_files)
    ]
    literal = MailContent(text=text, html="<p>x</p>" if with_html else "")
    content = await mime(RenderedMail(subject="s", literal=literal, attachments=files))

    parsed = read(content)

    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    assert content.isascii()
    found = {part.get_filename(): part.get_payload(decode=True) for part in parsed.walk() if part.get_filename()}
    assert found == {file.filename: file.content for file in files}
    ids = {part["Content-ID"] for part in parsed.walk() if part["Content-ID"]}
    assert ids == {f"<{file.content_id}>" for file in files if file.content_id}
    plain = parsed.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().rstrip("\r\n") == text
