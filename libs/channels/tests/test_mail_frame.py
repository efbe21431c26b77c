import re
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.internal.content.v1.rendered_pb2 import MailFrame
from clarion_channels.mail.frame import CorruptFrame, Marker, Part, build_frame, frame_sha256, verify_frame
from clarion_channels.mail.quoted_printable import MAX_LINE, encode

AWKWARD = st.one_of(
    st.text(max_size=200),
    st.text(alphabet=". =\t\r\nFé안\x00", max_size=200),
    st.text(alphabet="abc=", min_size=60, max_size=300),
    st.just("x" * 75 + "é"),
)
PARTS = st.lists(AWKWARD, min_size=1, max_size=6)


def crlf(text: str) -> str:
    return re.sub(r"\r\n|\r|\n", "\r\n", text)


def fill(frame: MailFrame, slots: list[str]) -> bytes:
    body = b"".join(
        encode(slots[segment.slot]) if segment.WhichOneof("part") == "slot" else segment.literal
        for segment in frame.segments
    )
    encoding = "7bit" if frame.content_type.startswith("multipart/") else "quoted-printable"
    head = f"MIME-Version: 1.0\r\nContent-Type: {frame.content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


def parse(message: bytes) -> EmailMessage:
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


@given(AWKWARD)
def test_encoded_text_decodes_to_itself_with_crlf(text: str) -> None:
    message = (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + encode(text)
    )
    assert parse(message).get_content() == crlf(text)


@given(AWKWARD)
def test_encoded_lines_leave_room_for_a_soft_break(text: str) -> None:
    assert all(len(line) < MAX_LINE or line.endswith(b"=") for line in encode(text).split(b"\r\n"))
    assert all(len(line) <= MAX_LINE for line in encode(text).split(b"\r\n"))


@given(PARTS, PARTS)
def test_bodies_with_slots_at_every_second_place_read_as_written(text: list[str], html: list[str]) -> None:
    slots = [*text[1::2], *html[1::2]]
    text_parts: list[Part] = [part if index % 2 == 0 else index // 2 for index, part in enumerate(text)]
    html_parts: list[Part] = [
        part if index % 2 == 0 else len(text[1::2]) + index // 2 for index, part in enumerate(html)
    ]
    message = fill(build_frame(text_parts, html_parts), slots)
    parsed = parse(message)
    plain, rich = parsed.iter_parts()
    assert isinstance(plain, EmailMessage)
    assert isinstance(rich, EmailMessage)
    assert plain.get_content() == "".join(map(crlf, text))
    assert rich.get_content() == "".join(map(crlf, html))
    assert all(len(line) <= MAX_LINE for line in message.split(b"\r\n\r\n", 1)[1].split(b"\r\n"))
    assert message.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", message)


@pytest.mark.parametrize(("text", "html", "subtype"), [(["Hi ", 0], [], "plain"), ([], ["<b>", 0, "</b>"], "html")])
def test_one_body_makes_a_single_part(text: list[Part], html: list[Part], subtype: str) -> None:
    frame = build_frame(text, html)
    assert frame.content_type == f"text/{subtype}; charset=utf-8"
    assert "Anna" in parse(fill(frame, ["Anna"])).get_content()


def test_a_slot_cannot_forge_the_boundary() -> None:
    frame = build_frame([0], ["x"])
    boundary = frame.content_type.split('"')[1]
    message = fill(frame, [f"\r\n--{boundary}--\r\n"])
    assert len(list(parse(message).iter_parts())) == 2


def test_the_pixel_is_a_segment_of_its_own() -> None:
    frame = build_frame(["t"], ["<p>", Marker.OPEN_PIXEL, "</p>"])
    assert [segment.WhichOneof("part") for segment in frame.segments] == ["literal", "open_pixel", "literal"]


def test_the_same_parts_give_the_same_hash_and_others_another() -> None:
    first, same = build_frame(["a", 0], ["b"]), build_frame(["a", 0], ["b"])
    assert frame_sha256(first) == frame_sha256(same)
    assert len(frame_sha256(first)) == 32
    assert frame_sha256(build_frame(["a", 1], ["b"])) != frame_sha256(first)


def test_boundaries_differ_where_parts_join_to_the_same_text() -> None:
    assert build_frame(["ab", "c"], ["x"]).content_type != build_frame(["a", "bc"], ["x"]).content_type


def test_a_mail_without_bodies_is_refused() -> None:
    with pytest.raises(ValueError, match="text or an html"):
        build_frame([], [])


@given(PARTS, PARTS)
def test_built_frames_pass_verification(text: list[str], html: list[str]) -> None:
    frame = build_frame([*text, 0, Marker.OPEN_PIXEL], [*html, 1])
    verify_frame(frame, frame_sha256(frame))


@pytest.mark.parametrize("literal", [b"a\n.\nMAIL FROM:<x>", b"a\r.\r", "ü\r\n".encode()])
def test_a_frame_that_could_smuggle_a_second_mail_is_refused(literal: bytes) -> None:
    frame = MailFrame(content_type="text/plain; charset=utf-8")
    frame.segments.add().literal = literal
    with pytest.raises(CorruptFrame, match="7-bit"):
        verify_frame(frame, frame_sha256(frame))


def test_a_frame_under_another_name_is_refused() -> None:
    with pytest.raises(CorruptFrame, match="hash"):
        verify_frame(build_frame(["a"]), frame_sha256(build_frame(["b"])))
