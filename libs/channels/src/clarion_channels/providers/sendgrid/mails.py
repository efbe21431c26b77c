"""What of our mails fits into one request: pure rules, no I/O.

A request has one pair of bodies and up to a thousand personalizations, each with a recipient, a subject, and values for
substitution tags. That is our model too: a frame is the pair of bodies, its holes become tags, and the slots of a mail
become the tags' values. So mails of one frame share a request. SendGrid replaces tags wherever they stand, also in the
values of other tags; a mail that could be hurt by this goes alone, its values written into the bodies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from clarion.internal.content.v1.rendered_pb2 import MailFrame, RenderedMail
from clarion_channels.clicks import Clicks
from clarion_channels.mail.attachments import Attachment
from clarion_channels.mail.bodies import Body, Hole, bodies
from clarion_channels.mail.compose import clicks_of, pixel_html, slot_of
from clarion_channels.mail.frame import Link, LinkedSlot, Marker, frame_sha256
from clarion_channels.mail.headers import MailHeaders
from clarion_channels.mail.hrefs import href, linked_html
from clarion_channels.port import Message

MAX_SUBSTITUTION_BYTES = 10_000
"""Of one personalization, tags and values together."""


class Template:
    """A frame as SendGrid takes it: bodies with tags in the holes. The same frame always gives the same tags."""

    def __init__(self, frame: MailFrame) -> None:
        """Raises `CorruptFrame`."""
        self.name = frame_sha256(frame)
        self.bodies = bodies(frame)
        self._holes = tuple(
            dict.fromkeys(part for body in self.bodies for part in body.parts if not isinstance(part, str))
        )
        self.mark = f"-clarion{self.name.hex()[:16]}x"

    def tag(self, hole: Hole) -> str:
        """What stands for a hole; every tag of the frame begins with `mark`."""
        match hole:
            case Marker():
                name = "p"
            case Link(number, _) | LinkedSlot(number, _):
                name = f"l{number}"
            case _:
                name = str(hole)
        return f"{self.mark}{name}-"

    def values(self, mail: RenderedMail) -> Mapping[Hole, str]:
        """What stands in each hole of this mail. Raises `FrameMismatch`."""
        clicks = clicks_of(mail)
        return {hole: _value(hole, mail, clicks) for hole in self._holes}


def _value(hole: Hole, mail: RenderedMail, clicks: Clicks) -> str:
    match hole:
        case Marker():
            return pixel_html(mail.open_pixel_url) if mail.open_pixel_url else ""
        case Link(number, pieces):
            value = "".join(piece if isinstance(piece, str) else slot_of(piece, mail.slots) for piece in pieces)
            return href(clicks, number, value)
        case LinkedSlot(number, slot):
            return linked_html(clicks, number, slot_of(slot, mail.slots))
        case _:
            return slot_of(hole, mail.slots)


@dataclass(frozen=True)
class Mail:
    """A message that is ready for a request."""

    message: Message
    headers: MailHeaders
    template: Template
    values: Mapping[Hole, str]
    attachments: tuple[Attachment, ...] = ()

    @property
    def recipient(self) -> str:
        """The address by which SendGrid tells the recipients of a request apart."""
        return self.headers.recipient.address.lower()

    @cached_property
    def substitutions(self) -> dict[str, str]:
        return {self.template.tag(hole): value for hole, value in self.values.items()}

    @cached_property
    def shareable(self) -> bool:
        """Whether it may stand in a request with others."""
        size = sum(len(tag) + len(value.encode()) for tag, value in self.substitutions.items())
        texts = (self.message.content.mail.subject, *self.values.values())
        return size <= MAX_SUBSTITUTION_BYTES and not any(self.template.mark in text for text in texts)


def contents(mails: Sequence[Mail]) -> list[tuple[Body, str]]:
    """The bodies of a request: with tags for several mails, with its own values for one."""
    first = mails[0]
    if len(mails) == 1:
        return [(body, body.fill(first.values.__getitem__)) for body in first.template.bodies]
    return [(body, body.fill(first.template.tag)) for body in first.template.bodies]


def groups(mails: Iterable[Mail], most: int) -> list[list[Mail]]:
    """The mails, request by request: one frame and the same files, at most `most` mails, no recipient twice in each."""
    done: list[list[Mail]] = []
    filling: dict[tuple[bytes, tuple[Attachment, ...]], list[tuple[list[Mail], set[str]]]] = {}
    for mail in mails:
        if not mail.shareable:
            done.append([mail])
            continue
        open_groups = filling.setdefault((mail.template.name, mail.attachments), [])
        for group, recipients in open_groups:
            if len(group) < most and mail.recipient not in recipients:
                group.append(mail)
                recipients.add(mail.recipient)
                break
        else:
            group = [mail]
            open_groups.append((group, {mail.recipient}))
            done.append(group)
    return done
