import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.internal.content.v1.rendered_pb2 import MailFrame
from clarion_channels.mail.bodies import Body, bodies
from clarion_channels.mail.frame import CorruptFrame, Marker, Part, build_frame

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=200)
PARTS = st.lists(TEXT | st.integers(0, 99) | st.just(Marker.OPEN_PIXEL), min_size=1, max_size=8)


def filled(body: Body) -> str:
    return body.fill(lambda hole: f"[{hole}]")


def written(parts: list[Part]) -> str:
    return "".join(part if isinstance(part, str) else f"[{part}]" for part in parts)


@given(PARTS, PARTS)
def test_what_was_built_reads_back(text: list[Part], html: list[Part]) -> None:
    plain, rich = bodies(build_frame(text, html))
    assert (plain.subtype, filled(plain)) == ("plain", written(text))
    assert (rich.subtype, filled(rich)) == ("html", written(html))


@given(PARTS)
def test_a_single_body_reads_back_with_its_last_line_end(text: list[Part]) -> None:
    [body] = bodies(build_frame(text))
    assert filled(body) == written(text) + "\n"


@pytest.mark.parametrize(
    "frame",
    [
        MailFrame(content_type="image/png"),
        MailFrame(content_type='multipart/alternative; boundary="b"'),
        MailFrame(
            content_type='multipart/alternative; boundary="b"',
            segments=[MailFrame.Segment(literal=b"--b\r\nx\r\n--b--\r\n")],
        ),
        MailFrame(content_type="text/plain; charset=utf-8", segments=[MailFrame.Segment()]),
        MailFrame(content_type="text/plain; charset=utf-8", segments=[MailFrame.Segment(literal=b"\0p\0")]),
        MailFrame(content_type="text/plain; charset=utf-8", segments=[MailFrame.Segment(literal=b"=FF")]),
    ],
    ids=["type", "no parts", "no text", "unknown segment", "a hole of its own", "not UTF-8"],
)
def test_a_frame_that_was_not_built_here_is_corrupt(frame: MailFrame) -> None:
    with pytest.raises(CorruptFrame):
        bodies(frame)
