"""A stored version, compiled: which texts its contents have, its mail frames, and how a rendered content is put together.

Bodies are compiled when first needed: of 64 locales most stay untouched in one process.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered
from clarion.template.v1.template_service_pb2 import Template
from clarion.types.v1.content_pb2 import Content, MailContent, PushContent
from clarion_channels.mail.anchors import with_links
from clarion_channels.mail.frame import Marker, build_frame, frame_sha256
from clarion_channels.mail.frame import Part as FramePart
from clarion_channels.template_data import faults_of
from clarion_kit.vocabulary import Channel
from clarion_template import data as template_data
from clarion_template.domain import DEFAULT_LOCALE, VersionKey, normal_locale, pick_locale
from clarion_template.source import engine
from clarion_template.source.engine import Data
from clarion_template.source.sheet import Failure, RenderFault, Sheet, Text
from clarion_template.source.split import Part
from clarion_template.variables import defaults_of, required_of

_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_DATA = "data."


class Kind(Enum):
    """The kinds of content; one serves several channels."""

    PUSH = "push"
    SMS = "sms"
    MAIL = "mail"


KINDS: Mapping[int, Kind] = {
    Channel.IOS: Kind.PUSH,
    Channel.ANDROID: Kind.PUSH,
    Channel.WEB: Kind.PUSH,
    Channel.SMS: Kind.SMS,
    Channel.EMAIL: Kind.MAIL,
}


def kinds_of(content: Content) -> list[Kind]:
    """The kinds a content has."""
    return [kind for kind in Kind if content.HasField(kind.value)]


def texts_of(content: Content, kind: Kind) -> list[Text]:
    """The sources of one kind of content, by their paths ("ios.override.title", "actions.0.title", "data.order")."""
    if kind is Kind.SMS:
        return [Text("text", content.sms.text)]
    if kind is Kind.MAIL:
        mail = content.mail
        # The text comes first, so that its slots and those of the html are the frame's, in order.
        texts = [Text("text", mail.text)] if mail.text else []
        texts += [Text("subject", mail.subject)]
        return [*texts, Text("html", mail.html, html=True)] if mail.html else texts
    return [Text(key, source) for key, source in _strings(content.push, "")]


def _strings(message: Message, path: str) -> Iterator[tuple[str, str]]:
    for descriptor, value in message.ListFields():
        key = path + descriptor.name
        if isinstance(value, str):
            yield key, value
        elif descriptor.name == "data" and isinstance(message, PushContent):
            for name in sorted(message.data):
                yield _DATA + name, message.data[name]
        elif descriptor.name == "actions" and isinstance(message, PushContent):
            for index, action in enumerate(message.actions):
                yield from _strings(action, f"{key}.{index}.")
        elif isinstance(value, Message):
            yield from _strings(value, key + ".")


class PushBody:
    """A push content with its constant fields filled in once."""

    def __init__(self, sheet: Sheet, content: PushContent) -> None:
        self.sheet = sheet
        self._constant = PushContent()
        self._constant.CopyFrom(content)
        self._varying: list[tuple[str, tuple[Part, ...]]] = []
        for key, parts in sheet.fields.items():
            if any(isinstance(part, int) for part in parts):
                self._varying.append((key, parts))
            else:
                put_text(self._constant, key, sheet.text(key, ()))

    def render(self, data: Data, rendered: Rendered, zone: str = "") -> None:
        """Fill an empty `rendered`, times in `zone`. Raises RenderFault, nothing filled."""
        slots = self.sheet.slots(data, zone)
        push = rendered.push
        push.CopyFrom(self._constant)
        for key, parts in self._varying:
            put_text(push, key, "".join([part if isinstance(part, str) else slots[part] for part in parts]))


class SmsBody:
    """A text message."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet

    def render(self, data: Data, rendered: Rendered, zone: str = "") -> None:
        """Fill an empty `rendered`, times in `zone`. Raises RenderFault, nothing filled."""
        rendered.sms.text = self.sheet.text("text", self.sheet.slots(data, zone))


class MailBody:
    """A mail: its frame, which is stored once, and the slots of each message."""

    def __init__(self, sheet: Sheet, tracking: "Tracking") -> None:
        self.sheet = sheet
        fields = sheet.fields
        text = fields.get("text", ())
        html = fields.get("html", ())
        in_text = sum(isinstance(part, int) for part in text)
        subject = sum(isinstance(part, int) for part in fields["subject"])
        self._in_text = in_text
        self._html_from = in_text + subject
        self.frame: MailFrame = build_frame(
            text, tracking.of(_shifted(html, -subject), {n - subject for n in sheet.linked})
        )
        self.frame_sha256 = frame_sha256(self.frame)

    def render(self, data: Data, rendered: Rendered, zone: str = "") -> None:
        """Fill an empty `rendered`, times in `zone`. Raises RenderFault, nothing filled."""
        slots = self.sheet.slots(data, zone)
        mail = rendered.mail
        mail.subject = one_line(self.sheet.text("subject", slots))
        mail.frame_sha256 = self.frame_sha256
        mail.slots.extend(slots[: self._in_text])
        mail.slots.extend(slots[self._html_from :])


Body = PushBody | SmsBody | MailBody


def one_line(text: str) -> str:
    """A header value: control characters and line breaks become one space."""
    return _LINE_BREAKS.sub(" ", text).strip()


def put_text(push: PushContent, key: str, text: str) -> None:
    """Set the text that `texts_of` gives the path `key`."""
    if key.startswith(_DATA):
        push.data[key[len(_DATA) :]] = text
        return
    *groups, name = key.split(".")
    target: Message = push
    for group in groups:
        target = push.actions[int(group)] if group.isdecimal() else getattr(target, group)
    setattr(target, name, text)


def _shifted(parts: Sequence[Part], by: int) -> tuple[Part, ...]:
    return tuple(part if isinstance(part, str) else part + by for part in parts)


@dataclass(frozen=True, slots=True)
class Tracking:
    """What of a mail is tracked."""

    links: bool
    opens: bool

    @classmethod
    def of_template(cls, template: Template) -> "Tracking":
        return cls(template.track_links, template.track_opens or not template.HasField("track_opens"))

    def of(self, html: Sequence[Part], linked: Collection[int]) -> list[FramePart]:
        """The parts of an HTML body with the marks of what is tracked; `linked`: slots that may hold links."""
        if not html:
            return []
        parts: list[FramePart] = with_links(html, linked) if self.links else [*html]
        return _with_pixel(parts) if self.opens else parts


def _with_pixel(html: Sequence[FramePart]) -> list[FramePart]:
    """The open pixel goes before the last literal </body>, else to the end."""
    for index in range(len(html) - 1, -1, -1):
        part = html[index]
        if isinstance(part, str) and (ends := list(_BODY_END.finditer(part))):
            at = ends[-1].start()
            around: list[FramePart] = [part[:at], Marker.OPEN_PIXEL, part[at:]]
            return [*html[:index], *(piece for piece in around if piece), *html[index + 1 :]]
    return [*html, Marker.OPEN_PIXEL]


@dataclass(frozen=True, slots=True)
class Outline:
    """What the edge must know of a version: what must be given, what its sources use, what it has content for."""

    required: frozenset[str]
    used: frozenset[str]
    channels: tuple[Channel, ...]


class CompiledVersion:
    """One version; `weight` is the size of its sources in bytes."""

    def __init__(self, key: VersionKey, template: Template) -> None:
        self.key = key
        self.template = template
        self.weight = template.ByteSize()
        # One environment each (about 10 µs, some KiB): what is evicted is freed, whoever still renders with it.
        self._environment = engine.environment()
        self._default = template.default_locale or DEFAULT_LOCALE
        self._contents = {normal_locale(body.locale): body.content for body in template.bodies}
        self.locales = {normal_locale(body.locale): body.locale for body in template.bodies}
        self.required = required_of(template)
        self.defaults = template_data.values(defaults_of(template))
        self._bodies: dict[tuple[str, Kind], Body] = {}
        self.known_outline: Outline | None = None

    def data(self, given: Struct) -> dict[str, object]:
        """The values given, and defaults for what is not. Raises RenderFault MISSING_VARIABLE, WRONG_TYPE, TOO_LARGE."""
        values = template_data.values(given)
        if not self.template.variables:
            return values
        if missing := self.required - values.keys():
            raise RenderFault(Failure.MISSING_VARIABLE, "variables are missing", sorted(missing))
        if faults := faults_of(self.template.variables, given):
            raise RenderFault(Failure.WRONG_TYPE, f"{faults[0].path} {faults[0].message}")
        return {**self.defaults, **values} if self.defaults else values

    def locale_for(self, wanted: str) -> str | None:
        """The normalised locale that serves `wanted`."""
        return pick_locale(wanted, self._default, self._contents)

    def body(self, locale: str, kind: Kind) -> Body | None:
        """The body of a normalised locale; None where it has no such content. Raises CompileFault."""
        body = self._bodies.get((locale, kind))
        if body is None and self._contents[locale].HasField(kind.value):
            body = self._bodies[locale, kind] = self._compile(locale, kind)
        return body

    def bodies(self) -> Iterator[tuple[str, Kind, Body]]:
        """Every body, all compiled. Raises CompileFault."""
        for locale, content in self._contents.items():
            for kind in kinds_of(content):
                if (body := self.body(locale, kind)) is not None:
                    yield locale, kind, body

    def outline(self) -> Outline:
        """Names and channels over all bodies, which are all compiled for it. Raises CompileFault."""
        sheets = [body.sheet for _, _, body in self.bodies()]
        kinds = {kind for content in self._contents.values() for kind in kinds_of(content)}
        return Outline(
            self.required.union(*(sheet.required for sheet in sheets)) - self.defaults.keys(),
            frozenset[str]().union(*(sheet.used for sheet in sheets)),
            tuple(channel for channel in Channel if KINDS[channel] in kinds),
        )

    def _compile(self, locale: str, kind: Kind) -> Body:
        content = self._contents[locale]
        sheet = Sheet(self._environment, f"{locale}/{kind.value}", texts_of(content, kind))
        if kind is Kind.MAIL:
            return MailBody(sheet, Tracking.of_template(self.template))
        return PushBody(sheet, content.push) if kind is Kind.PUSH else SmsBody(sheet)


def whole_mail(texts: Mapping[str, str]) -> MailContent:
    """A mail from its rendered texts, for a preview."""
    return MailContent(
        subject=one_line(texts.get("subject", "")), text=texts.get("text", ""), html=texts.get("html", "")
    )


def whole_push(content: PushContent, texts: Mapping[str, str]) -> PushContent:
    """A push from its rendered texts, for a preview."""
    push = PushContent()
    push.CopyFrom(content)
    for key, text in texts.items():
        put_text(push, key, text)
    return push
