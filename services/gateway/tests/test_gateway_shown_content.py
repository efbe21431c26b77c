"""What of a rendered content is shown to its app."""

import pytest

from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered, RenderedMail
from clarion.types.v1.content_pb2 import Content, MailContent, SmsContent
from clarion_channels.mail.frame import Marker, build_frame, frame_sha256
from clarion_gateway.shown_content import Unshowable, shown


def framed(frame: MailFrame, *slots: str) -> Rendered:
    mail = RenderedMail(
        subject="Größe 42",
        frame_sha256=frame_sha256(frame),
        slots=slots,
        open_pixel_url="https://t.example/o/secret",
    )
    return Rendered(mail=mail)


def test_mail_of_a_template_is_put_together_from_its_frame() -> None:
    frame = build_frame(["Dear ", 0, ",\nyour shoes."], ["<p>Dear ", 0, "</p>", Marker.OPEN_PIXEL])

    mail = shown(framed(frame, "Zoë " + "x" * 100), frame).mail

    assert mail.subject == "Größe 42"
    assert mail.text.rstrip("\n") == f"Dear Zoë {'x' * 100},\nyour shoes."
    assert mail.html.rstrip("\n") == f"<p>Dear Zoë {'x' * 100}</p>"


def test_mail_of_a_single_part_is_text_alone() -> None:
    frame = build_frame(["Straße ", 0])

    mail = shown(framed(frame, "1"), frame).mail

    assert (mail.text.rstrip("\n"), mail.html) == ("Straße 1", "")


def test_literal_content_is_shown_as_it_is() -> None:
    literal = MailContent(subject="s", text="t", html="<p>h</p>")
    rendered = Rendered(mail=RenderedMail(subject="s", literal=literal))

    assert shown(rendered, None) == Content(mail=literal)
    assert shown(Rendered(sms=SmsContent(text="hi")), None) == Content(sms=SmsContent(text="hi"))


@pytest.mark.parametrize("frame", [None, build_frame(["a", 3])])
def test_mail_that_does_not_fit_its_frame_is_not_shown_in_part(frame: MailFrame | None) -> None:
    with pytest.raises(Unshowable):
        shown(framed(build_frame(["a"]), "only one"), frame)


def test_content_of_no_known_kind_is_not_shown() -> None:
    with pytest.raises(Unshowable):
        shown(Rendered(), None)
