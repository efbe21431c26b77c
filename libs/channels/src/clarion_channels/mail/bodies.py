"""A frame read back into its text and HTML, for providers that take bodies instead of MIME. The inverse of `frame`."""

import re
from binascii import a2b_qp
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clarion.internal.content.v1.rendered_pb2 import MailFrame
from clarion_channels.mail.frame import CorruptFrame, Link, LinkedSlot, Marker, Part

Hole = int | Marker | Link | LinkedSlot
"""A place of a body that differs from mail to mail."""

_HOLE = re.compile(rb"\0(\d+)\0")
_BOUNDARY = re.compile(r'multipart/alternative; boundary="([^"]{1,70})"')
_TEXT = re.compile(r"text/(plain|html); charset=utf-8", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """One alternative: `subtype` "plain" or "html", and its pieces."""

    subtype: str
    parts: tuple[Part, ...]

    def fill(self, value: Callable[[Hole], str]) -> str:
        """The whole text, `value` in every hole."""
        return "".join(part if isinstance(part, str) else value(part) for part in self.parts)


def bodies(frame: MailFrame) -> tuple[Body, ...]:
    """The alternatives in their order, plain text first. Raises `CorruptFrame` for what `build_frame` does not make."""
    body, holes = _with_holes(frame)
    single = _TEXT.fullmatch(frame.content_type)
    if single is not None:
        return (Body(single[1].lower(), _decode(body, holes)),)
    boundary = _BOUNDARY.fullmatch(frame.content_type)
    if boundary is None:
        raise CorruptFrame("the frame has a content type of an unknown kind")
    delimiter = b"--" + boundary[1].encode("ascii")
    pieces = body.split(delimiter)
    if pieces[0] or pieces[-1] != b"--\r\n" or len(pieces) < 3:
        raise CorruptFrame("the frame's parts do not match its boundary")
    return tuple(_part(piece, holes) for piece in pieces[1:-1])


def _with_holes(frame: MailFrame) -> tuple[bytes, list[Hole]]:
    """The body with NUL, the hole's place among all and NUL in every hole, and the holes; quoted-printable text holds no NUL."""
    pieces: list[bytes] = []
    holes: list[Hole] = []
    for segment in frame.segments:
        kind = segment.WhichOneof("part")
        if kind == "literal":
            if b"\0" in segment.literal:
                raise CorruptFrame("the frame holds a NUL")
            pieces.append(segment.literal)
            continue
        pieces.append(b"\0%d\0" % len(holes))
        match kind:
            case "slot":
                holes.append(segment.slot)
            case "open_pixel":
                holes.append(Marker.OPEN_PIXEL)
            case "link":
                holes.append(Link(segment.link.number, tuple(_piece(piece) for piece in segment.link.pieces)))
            case "linked_slot":
                holes.append(LinkedSlot(segment.linked_slot.number, segment.linked_slot.slot))
            case _:
                raise CorruptFrame("the frame has a segment of an unknown kind")
    return b"".join(pieces), holes


def _piece(piece: MailFrame.Link.Piece) -> str | int:
    return piece.slot if piece.WhichOneof("part") == "slot" else piece.literal


def _part(piece: bytes, holes: Sequence[Hole]) -> Body:
    head, separator, text = piece.partition(b"\r\n\r\n")
    fields = dict(_field(line) for line in head.decode("ascii", "replace").split("\r\n") if line)
    kind = _TEXT.fullmatch(fields.get("content-type", ""))
    if not separator or kind is None or fields.get("content-transfer-encoding") != "quoted-printable":
        raise CorruptFrame("a part of the frame is no quoted-printable text")
    # The last line break belongs to the boundary (RFC 2046 §5.1.1).
    return Body(kind[1].lower(), _decode(text.removesuffix(b"\r\n"), holes))


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


def _decode(body: bytes, holes: Sequence[Hole]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for index, piece in enumerate(_HOLE.split(body)):
        if index % 2:
            parts.append(holes[int(piece)])
        elif text := _text(piece):
            parts.append(text)
    return tuple(parts)


def _text(piece: bytes) -> str:
    try:
        return a2b_qp(piece).decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise CorruptFrame("the frame holds text that is not UTF-8") from error
