"""What mails and their files may get wrong at the edge: each fault by its field."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.content_pb2 import Content, MailAttachment, MailContent, SmsContent
from clarion_channels.content_rules import check_attachments, check_content
from clarion_channels.mail.attachments import Attachment, check_attachment, is_file_name
from clarion_channels.mail.rules import MAX_ATTACHMENT_BYTES
from clarion_kit.errors import DomainError
from clarion_kit.validate import Faults


def fields(check: Callable[[Faults], None]) -> Sequence[str]:
    faults = Faults()
    check(faults)
    try:
        faults.raise_if_any()
    except DomainError as refused:
        return [fault.field for fault in refused.fields]
    return []


def file(
    filename: str = "a.pdf", content_type: str = "application/pdf", content: bytes = b"x", content_id: str = ""
) -> MailAttachment:
    return MailAttachment(filename=filename, content_type=content_type, content=content, content_id=content_id)


def notification(*files: MailAttachment, html: str = "<p>hello</p>", recipients: int = 1) -> Notification:
    mail = MailContent(subject="s", text="t", html=html)
    ids = [str(number) for number in range(recipients)]
    return Notification(recipient_ids=ids, content=Content(mail=mail), attachments=files)


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        (MailContent(text="t"), "mail.subject"),
        (MailContent(subject="x" * 999, text="t"), "mail.subject"),
        (MailContent(subject="a\r\nBcc: b@example.org", text="t"), "mail.subject"),
        (MailContent(subject="a\u2028b", text="t"), "mail.subject"),
        (MailContent(subject="s"), "mail.text"),
        (MailContent(subject="s", html="<p>alone</p>"), "mail.text"),
        (MailContent(subject="s", text="x" * (256 * 1024 + 1)), "mail.text"),
        (MailContent(subject="s", text="t", html="x" * (512 * 1024 + 1)), "mail.html"),
        (MailContent(subject="s", text="t\0"), "mail.text"),
    ],
)
def test_fault_of_a_mail_is_named(mail: MailContent, field: str) -> None:
    assert fields(lambda faults: check_content(Content(mail=mail), faults)) == [field]


def test_html_alone_says_that_text_is_missing() -> None:
    faults = Faults()
    check_content(Content(mail=MailContent(subject="s", html="<p>x</p>")), faults)
    with pytest.raises(DomainError, match="beside html"):
        faults.raise_if_any()


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (notification(*(file() for _ in range(11))), "attachments"),
        (notification(file(), recipients=11), "attachments"),
        (notification(file(content=bytes(300 << 10)), file(content=bytes(300 << 10))), "attachments"),
        (notification(file(content_id="a"), file(content_id="a")), "attachments"),
        (notification(file(filename="")), "attachments[0].filename"),
        (notification(file(), file(filename="../etc/passwd")), "attachments[1].filename"),
        (notification(file(filename="a\\b")), "attachments[0].filename"),
        (notification(file(filename="a\r\nX: y")), "attachments[0].filename"),
        (notification(file(filename="invoice\u202efdp.exe")), "attachments[0].filename"),
        (notification(file(filename="..")), "attachments[0].filename"),
        (notification(file(filename="é" * 128)), "attachments[0].filename"),
        (notification(file(content_type="")), "attachments[0].content_type"),
        (notification(file(content_type="pdf")), "attachments[0].content_type"),
        (notification(file(content_type="text/html; charset=x")), "attachments[0].content_type"),
        (notification(file(content_type="multipart/mixed")), "attachments[0].content_type"),
        (notification(file(content_type="message/rfc822")), "attachments[0].content_type"),
        (notification(file(content=b"")), "attachments[0].content"),
        (notification(file(content_id="a b")), "attachments[0].content_id"),
        (notification(file(content_id="x" * 65)), "attachments[0].content_id"),
        (notification(file(content_id="a@b")), "attachments[0].content_id"),
        (notification(html='<img src="cid:logo">'), "content.mail.html"),
        (notification(file(content_id="logo"), html="<img src='CID:Logo'>"), "content.mail.html"),
        (notification(file(), html="<td style=\"background: url( 'cid:bg' )\">"), "content.mail.html"),
        (notification(file(), html="<img src=cid:logo>"), "content.mail.html"),
        (Notification(content=Content(sms=SmsContent(text="t")), attachments=[file()]), "attachments"),
    ],
)
def test_fault_of_files_is_named(bad: Notification, field: str) -> None:
    assert fields(lambda faults: check_attachments(bad, faults)) == [field]


@pytest.mark.parametrize(
    "right",
    [
        notification(),
        notification(*(file() for _ in range(10)), recipients=10),
        notification(file(content=bytes(MAX_ATTACHMENT_BYTES))),
        notification(file(filename="Rechnung für Zoë.pdf"), file(filename="청구서.pdf")),
        notification(file(content_id="logo.1_a-b"), html='<img src="cid:logo.1_a-b">'),
        notification(file(content_id="a_b"), html='<img src="cid:a%5Fb">'),
        notification(html="<p>write cid:logo to name a part</p>"),
        Notification(recipient_ids=["a"], attachments=[file(content_id="logo")]),
    ],
)
def test_right_files_are_taken(right: Notification) -> None:
    assert fields(lambda faults: check_attachments(right, faults)) == []


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_whatever_the_edge_takes_can_be_composed(name: str, media_type: str, content_id: str) -> None:
    given_file = notification(file(name.encode("utf-8", "replace").decode(), media_type, b"x", content_id))
    if not fields(lambda faults: check_attachments(given_file, faults)):
        check_attachment(Attachment(given_file.attachments[0].filename, media_type, b"x", content_id))


@pytest.mark.parametrize("name", ["a/b", "a\\b", "", ".", "..", "a\tb", "a\u2066b", "a\x85b"])
def test_name_of_a_file_is_nothing_but_a_name(name: str) -> None:
    assert not is_file_name(name)
