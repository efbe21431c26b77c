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
from clarion_channels.mail.attachments import Attachment
from clarion_channels.mail.bodies import Body, bodies
from clarion_channels.mail.compose import FrameMismatch, pixel_html
from clarion_channels.mail.frame import Marker, frame_sha256
from clarion_channels.mail.headers import MailHeaders
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

    def tag(self, hole: int | Marker) -> str:
        """What stands for a hole; every tag of the frame begins with `mark`."""
        return f"{self.mark}{'p' if isinstance(hole, Marker) else hole}-"

    def values(self, mail: RenderedMail) -> Mapping[int | Marker, str]:
        """What stands in each hole of this mail. Raises `FrameMismatch`."""
        values: dict[int | Marker, str] = {}
        for hole in self._holes:
            if isinstance(hole, Marker):
                values[hole] = pixel_html(mail.open_pixel_url) if mail.open_pixel_url else ""
            elif hole < len(mail.slots):
                values[hole] = mail.slots[hole]
            else:
                raise FrameMismatch(f"slot {hole} of the frame has no value, the mail has {len(mail.slots)}")
        return values


@dataclass(frozen=True)
class Mail:
    """A message that is ready for a request."""

    message: Message
    headers: MailHeaders
    template: Template
    values: Mapping[int | Marker, str]
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
