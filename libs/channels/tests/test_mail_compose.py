from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.internal.content.v1.rendered_pb2 import MailFrame, RenderedMail
from clarion.types.v1.content_pb2 import MailContent
from clarion_channels.mail.compose import FrameMismatch, compose, literal_frame
from clarion_channels.mail.frame import Marker, build_frame
from clarion_channels.mail.headers import HeaderError, Mailbox, MailHeaders

SENDER = Mailbox("shop@example.com", "The Shop")
RECIPIENT = Mailbox("anna@example.org", "Anna")
DATE = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
FRAME = build_frame(["Hello ", 0, "!"], ["<p>Hello ", 0, "!</p>", Marker.OPEN_PIXEL])
LINE = st.text(
    alphabet=st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\x85"), max_size=150
)


def headers(
    sender: Mailbox = SENDER, recipient: Mailbox = RECIPIENT, unsubscribe: tuple[str, ...] = (), one_click: bool = False
) -> MailHeaders:
    return MailHeaders(sender, recipient, DATE, "0192-7@example.com", unsubscribe, one_click)


def mail(subject: str = "Hello", name: str = "Anna", pixel: str = "") -> RenderedMail:
    return RenderedMail(subject=subject, slots=[name], open_pixel_url=pixel)


def parse(message: bytes) -> EmailMessage:
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def body(message: bytes, subtype: str) -> str:
    part = parse(message).get_body((subtype,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


def mailbox(message: bytes, field: str) -> tuple[str, list[str]]:
    """Address and words of the name, by the old parser: the new one reads adjacent encoded words of a name apart."""
    unfolded = "".join(str(message_from_bytes(message, policy=policy.compat32)[field]).splitlines())
    name, address = parseaddr(unfolded)
    return address, str(make_header(decode_header(name))).split()


def test_a_composed_mail_reads_back_whole() -> None:
    message = compose(FRAME, mail(name="Zoë"), headers())
    parsed = parse(message)
    assert parsed["From"] == "The Shop <shop@example.com>"
    assert parsed["To"] == "Anna <anna@example.org>"
    assert parsed["Subject"] == "Hello"
    assert parsed["Date"].datetime == DATE
    assert parsed["Message-ID"] == "<0192-7@example.com>"
    assert parsed["MIME-Version"] == "1.0"
    assert body(message, "plain") == "Hello Zoë!"
    assert body(message, "html") == "<p>Hello Zoë!</p>"


def test_header_holds_no_field_beyond_the_expected() -> None:
    assert parse(compose(FRAME, mail(), headers())).keys() == [
        *("From", "To", "Subject", "Date", "Message-ID"),
        *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    ]


@given(LINE, LINE, LINE)
def test_subject_and_names_survive_whatever_they_hold(subject: str, sender: str, recipient: str) -> None:
    message = compose(
        FRAME, mail(subject), headers(Mailbox(SENDER.address, sender), Mailbox(RECIPIENT.address, recipient))
    )
    parsed = parse(message)
    assert parsed["Subject"] == subject
    assert mailbox(message, "From") == (SENDER.address, sender.split())
    assert mailbox(message, "To") == (RECIPIENT.address, recipient.split())
    head = message.split(b"\r\n\r\n", 1)[0]
    assert head.isascii()
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))


@pytest.mark.parametrize("evil", ["a\r\nBcc: x@example.org", "a\nb", "a\rb", "a\0b", "\x7f"])
def test_control_characters_in_header_values_are_refused(evil: str) -> None:
    with pytest.raises(HeaderError, match="Subject"):
        compose(FRAME, mail(subject=evil), headers())
    with pytest.raises(HeaderError, match="From"):
        compose(FRAME, mail(), headers(sender=Mailbox(SENDER.address, evil)))
    with pytest.raises(HeaderError, match="To"):
        compose(FRAME, mail(), headers(recipient=Mailbox(f"{evil}@example.org")))
    with pytest.raises(HeaderError, match="List-Unsubscribe"):
        compose(FRAME, mail(), headers(unsubscribe=(f"https://u.example/{evil}",)))


@pytest.mark.parametrize(
    "address",
    ["", "anna", "@example.org", "a@b>, <c@d.example", "a b@example.org", "zoë@example.org", "a@-", "a..b@c.example"],
)
def test_addresses_that_could_mean_something_else_are_refused(address: str) -> None:
    with pytest.raises(HeaderError, match="To"):
        compose(FRAME, mail(), headers(recipient=Mailbox(address)))


def test_the_fault_names_the_field_and_hides_the_value() -> None:
    with pytest.raises(HeaderError) as caught:
        compose(FRAME, mail(subject="secret\r\n"), headers())
    assert "secret" not in str(caught.value)


def test_unsubscribe_fields_follow_rfc_8058() -> None:
    uris = ("https://u.example/t/abc", "mailto:off@u.example?subject=stop")
    parsed = parse(compose(FRAME, mail(), headers(unsubscribe=uris, one_click=True)))
    assert parsed["List-Unsubscribe"] == "<https://u.example/t/abc>, <mailto:off@u.example?subject=stop>"
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_one_click_field_needs_a_link() -> None:
    assert parse(compose(FRAME, mail(), headers(one_click=True)))["List-Unsubscribe-Post"] is None


def test_pixel_stands_in_the_html_alone_with_its_url_escaped() -> None:
    message = compose(FRAME, mail(pixel='https://t.example/o/1?a=1&b="2"'), headers())
    assert 'src="https://t.example/o/1?a=1&amp;b=&quot;2&quot;"' in body(message, "html")
    assert "img" not in body(message, "plain")


def test_a_slot_without_value_is_refused() -> None:
    with pytest.raises(FrameMismatch, match="slot 0"):
        compose(FRAME, RenderedMail(subject="x"), headers())


def test_a_segment_of_a_later_version_is_refused() -> None:
    frame = MailFrame(content_type="text/plain; charset=utf-8")
    frame.segments.add()
    with pytest.raises(FrameMismatch, match="unknown"):
        compose(frame, mail(), headers())


def test_a_literal_mail_gets_its_pixel_before_the_end_of_the_body() -> None:
    content = MailContent(subject="s", text="Tëxt", html="<BODY>İ<b>x</b></BODY></html>")
    message = compose(literal_frame(content), mail(pixel="https://t.example/o"), headers())
    assert body(message, "plain") == "Tëxt"
    assert body(message, "html").startswith("<BODY>İ<b>x</b><img src=")
    assert body(message, "html").endswith("></BODY></html>")


def test_a_literal_mail_of_text_alone_is_a_single_part() -> None:
    message = compose(literal_frame(MailContent(subject="s", text="Hi =\n.\n")), mail(), headers())
    assert parse(message).get_content_type() == "text/plain"
    assert parse(message).get_content() == "Hi =\r\n.\r\n\r\n"
