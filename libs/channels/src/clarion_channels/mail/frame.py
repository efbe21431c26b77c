"""Mail frames: the MIME body of one template version and locale, encoded once, with holes for what varies.

The standard library takes about a millisecond to build a multipart mail. A frame keeps all that does not vary encoded,
so that a mail costs only its slots (`compose`): 38 µs for one of 9 KB with six of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from clarion.internal.content.v1.rendered_pb2 import MailFrame
from clarion_channels.mail.quoted_printable import SOFT_BREAK, encode


class Marker(Enum):
    """A place in a body that is no slot."""

    OPEN_PIXEL = "open pixel"


class CorruptFrame(ValueError):
    """A stored frame must not be sent; the text says why, without content."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a link of the HTML leads: the value of its `href`, escaped, as literals and indices of slots."""

    number: int
    pieces: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class LinkedSlot:
    """A slot of HTML that may hold links; they share a number."""

    number: int
    slot: int


Part = str | int | Marker | Link | LinkedSlot
"""A piece of a body: literal text, the index of a slot, a marker, or what has to do with links."""


def build_frame(text: Sequence[Part], html: Sequence[Part] = ()) -> MailFrame:
    """The frame of a mail with these bodies, in quoted-printable UTF-8.

    Both bodies make a multipart/alternative, one of them a single part. Slots stand between soft line breaks, so that
    no line exceeds 76 characters whatever they hold. The same parts always give the same frame. Raises `ValueError`
    when both are empty and for a negative slot.
    """
    bodies = [(subtype, parts) for subtype, parts in (("plain", text), ("html", html)) if parts]
    if not bodies:
        raise ValueError("a mail needs a text or an html body")
    frame = MailFrame()
    writer = _Writer(frame)
    if len(bodies) == 1:
        subtype, parts = bodies[0]
        frame.content_type = f"text/{subtype}; charset=utf-8"
        writer.body(parts)
    else:
        # "=_" cannot stand in quoted-printable text (RFC 2045 §6.7), so no slot can forge the boundary.
        boundary = f"=_{_digest(bodies)}"
        frame.content_type = f'multipart/alternative; boundary="{boundary}"'
        for subtype, parts in bodies:
            writer.literal(
                f"--{boundary}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n"
                "Content-Transfer-Encoding: quoted-printable\r\n\r\n".encode("ascii")
            )
            writer.body(parts)
        writer.literal(f"--{boundary}--\r\n".encode("ascii"))
    writer.flush()
    return frame


def frame_sha256(frame: MailFrame) -> bytes:
    """The frame's name in `ledger.frame`: SHA-256 (32 bytes) of its deterministic serialisation."""
    return hashlib.sha256(frame.SerializeToString(deterministic=True)).digest()


def verify_frame(frame: MailFrame, sha256: bytes) -> None:
    """Raise `CorruptFrame` unless the frame has this name and only 7-bit literals with CRLF line ends.

    A bare CR or LF would end the mail early on some servers, and what follows it become a mail of its own. For once per
    load: on each mail it would cost a third of `compose`.
    """
    if frame_sha256(frame) != sha256:
        raise CorruptFrame("the frame's hash is not its name")
    literals = b"\0".join(segment.literal for segment in frame.segments)
    line_ends = literals.count(b"\r\n")
    if not literals.isascii() or literals.count(b"\n") != line_ends or literals.count(b"\r") != line_ends:
        raise CorruptFrame("the frame is not 7-bit text with CRLF line ends")


def _digest(bodies: Sequence[tuple[str, Sequence[Part]]]) -> str:
    digest = hashlib.sha256()
    for subtype, parts in bodies:
        for part in parts:
            value = part.value if isinstance(part, Marker) else str(part)
            digest.update(f"{subtype} {type(part).__name__} {len(value)} {value}".encode())
    return digest.hexdigest()[:24]


class _Writer:
    """Gathers literal bytes and writes them as one segment between two holes."""

    def __init__(self, frame: MailFrame) -> None:
        self._frame = frame
        self._literal = bytearray()

    def literal(self, data: bytes) -> None:
        self._literal += data

    def body(self, parts: Sequence[Part]) -> None:
        """One body, ended by a line break: the boundary's own in a multipart, the text's in a single part."""
        for part in parts:
            if isinstance(part, str):
                self._text(part)
            else:
                self._hole(part)
        self.literal(b"\r\n")

    def _text(self, text: str) -> None:
        self._start_line()
        self.literal(encode(text))

    def _hole(self, part: int | Marker | Link | LinkedSlot) -> None:
        self._start_line()
        self.flush()
        segment = self._frame.segments.add()
        match part:
            case Marker():
                segment.open_pixel.SetInParent()
            case Link(number, pieces):
                segment.link.number = number
                for piece in pieces:
                    if isinstance(piece, str):
                        segment.link.pieces.add().literal = piece
                    else:
                        segment.link.pieces.add().slot = piece
            case LinkedSlot(number, slot):
                segment.linked_slot.number, segment.linked_slot.slot = number, slot
            case _:
                segment.slot = part
        self.literal(SOFT_BREAK)

    def _start_line(self) -> None:
        if self._literal and not self._literal.endswith(b"\r\n"):
            self.literal(SOFT_BREAK)

    def flush(self) -> None:
        if self._literal:
            self._frame.segments.add().literal = bytes(self._literal)
            self._literal.clear()
