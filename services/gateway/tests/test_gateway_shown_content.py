"""What of a rendered content is shown to its app."""

import pytest

from clarion.internal.content.v1.rendered_pb2 import LinkSigner, MailFrame, Rendered, RenderedMail
from clarion.types.v1.content_pb2 import Content, MailContent, PushContent, SmsContent
from clarion_channels.mail.anchors import with_links
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


def test_links_are_shown_where_they_lead_and_tell_of_no_click() -> None:
    html = with_links(['<a href="https://a.example/', 0, '">a</a>', 1], {1})
    frame = build_frame(["text"], html)
    rendered = framed(frame, "7", '<a href="https://b.example/">b</a>')
    rendered.mail.links.CopyFrom(LinkSigner(base_url="https://t.example", delivery=bytes(32), key=bytes(32)))

    mail = shown(rendered, frame).mail

    assert mail.html.rstrip("\n") == '<a href="https://a.example/7">a</a><a href="https://b.example/">b</a>'


def test_push_is_shown_without_what_signs_for_it() -> None:
    push = PushContent(title="t", link="https://a.example/")
    rendered = Rendered(push=push, event_token="secret", links=LinkSigner(base_url="https://t.example", key=bytes(32)))

    assert shown(rendered, None) == Content(push=push)


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
