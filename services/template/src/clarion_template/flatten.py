"""From what was written to what is rendered: common texts, the layout and partials put in, MJML turned into HTML, the text of a
mail made from its HTML. Done once, when a template is stored; a version is whole in itself."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clarion.template.v1.template_service_pb2 import CommonText, LocalizedBody, Partial, Template
from clarion.types.v1.content_pb2 import Content
from clarion_kit.errors import DomainError, ErrorReason
from clarion_template.compiled import KINDS, Kind, kinds_of, put_text, texts_of
from clarion_template.domain import DEFAULT_LOCALE, fallbacks, normal_locale
from clarion_template.faults import at_body
from clarion_template.guard.protocol import Conversion, Into
from clarion_template.ports import Guard, Store
from clarion_template.source import includes
from clarion_template.source.lexer import SourceFault
from clarion_template.source.sheet import RenderFault
from clarion_template.validation import MAX_BODY_BYTES, MAX_TEXT_BYTES
from clarion_template.variables import with_samples

MAX_DOCUMENT_BYTES = 4 << 20
MAX_APP_PARTIALS = 64
"""Of the app's, in one template."""

_MJML = re.compile(r"\s*(<!--.*?-->\s*)*<mjml[\s>]", re.DOTALL | re.IGNORECASE)

Reference = tuple[str, int]
"""A partial's name and version (0: the newest)."""


@dataclass(slots=True)
class Library:
    """The partials a template may include. `used` gathers the app's that it did."""

    own: Mapping[str, Partial]
    app: Mapping[Reference, Partial]
    default_locale: str
    used: dict[str, set[int]] = field(default_factory=dict)

    def find(self, locale: str, content: str | None = None) -> includes.Find:
        """By reference, in the best locale for `locale`; `content` is what a layout includes by that name."""

        def source(reference: str) -> str | None:
            if reference == includes.CONTENT:
                return content
            parsed = includes.parse_reference(reference)
            if parsed is None:
                return None
            partial = self.own.get(parsed[0]) if not parsed[1] else None
            if partial is None:
                partial = self.app.get(parsed)
                if partial is not None:
                    self.used.setdefault(partial.name, set()).add(partial.version)
            return None if partial is None else _in_locale(partial, locale, self.default_locale)

        return source


@dataclass(frozen=True, slots=True)
class Flat:
    """A template that needs nothing else; `generated` are the locales whose mail got its text from its HTML."""

    template: Template
    used: tuple[Reference, ...]
    generated: frozenset[str]


class Flattener:
    """Flattens templates of an app."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    async def flatten(self, app_id: int, written: Template) -> Flat:
        """A copy with whole sources. Raises DomainError TEMPLATE_INVALID, OVERLOADED; Unavailable."""
        flat = Template()
        flat.CopyFrom(written)
        for given in ("version", "created_at", "created_by", "used_partials", "partials", "layout"):
            flat.ClearField(given)
        flat.default_locale = written.default_locale or DEFAULT_LOCALE
        samples = with_samples(written)
        if samples.fields:
            flat.sample_data.CopyFrom(samples)
        for body in flat.bodies:
            if body.HasField("common"):
                fill(body.content, body.common)
                body.ClearField("common")
        library = await self._library(app_id, written, flat)
        generated: set[str] = set()
        size = 0
        for body in flat.bodies:
            await asyncio.to_thread(_expand_body, body, written.layout, library)
            if await self._finish_mail(body):
                generated.add(body.locale)
            size += body.ByteSize()
            if size > MAX_DOCUMENT_BYTES:
                raise DomainError(
                    ErrorReason.TEMPLATE_INVALID,
                    f"larger than {MAX_DOCUMENT_BYTES} bytes with its partials",
                    metadata={"template": written.name},
                )
        used = sorted((name, version) for name, versions in library.used.items() for version in versions)
        return Flat(flat, tuple(used), frozenset(generated))

    async def _library(self, app_id: int, written: Template, flat: Template) -> Library:
        own = {partial.name: partial for partial in written.partials}
        app: dict[Reference, Partial] = {}
        sources = [text.source for body in flat.bodies for kind in Kind for text in texts_of(body.content, kind)]
        sources += [source for partial in own.values() for source in _sources(partial)]
        if written.layout:
            sources.append(f'{{% include "{written.layout}" %}}')
        for _ in range(includes.MAX_DEPTH + 1):
            wanted = await asyncio.to_thread(_wanted, sources)
            missing = sorted(
                reference for reference in wanted if reference not in app and (reference[1] or reference[0] not in own)
            )
            if not missing:
                break
            if len(app) + len(missing) > MAX_APP_PARTIALS:
                raise DomainError(
                    ErrorReason.TEMPLATE_INVALID,
                    f"more than {MAX_APP_PARTIALS} partials of the app",
                    metadata={"template": written.name},
                )
            found = await self._store.partials(app_id, missing)
            if not found:
                break
            app |= found
            sources = [source for partial in found.values() for source in _sources(partial)]
        return Library(own, app, flat.default_locale)

    async def _finish_mail(self, body: LocalizedBody) -> bool:
        """Whether the mail's text was made from its HTML."""
        mail = body.content.mail
        if not body.content.HasField("mail") or not mail.html:
            return False
        if _MJML.match(mail.html):
            mail.html = await self._convert(Into.HTML, mail.html, body.locale)
        if mail.text:
            return False
        mail.text = await self._convert(Into.TEXT, mail.html, body.locale)
        return True

    async def _convert(self, into: Into, source: str, locale: str) -> str:
        try:
            return await self._guard.convert(Conversion(into, source))
        except RenderFault as fault:
            key = "html" if into is Into.HTML else "text"
            message = fault.message if into is Into.HTML else f"cannot be made from the html ({fault.message})"
            raise at_body(message, locale, Kind.MAIL, key, fault.line) from None


def fill(content: Content, common: CommonText) -> None:
    """Put common texts where a content has none of its own."""
    kinds = {KINDS[channel] for channel in common.channels if channel in KINDS} or set(Kind)
    if Kind.PUSH in kinds and not content.push.ios.content_available:
        push = content.push
        push.title = push.title or common.title
        push.body = push.body or common.text
        push.link = push.link or common.link
        push.image_url = push.image_url or common.image_url
    if Kind.SMS in kinds and not content.sms.text:
        content.sms.text = f"{common.text} {common.link}" if common.link else common.text
    if Kind.MAIL in kinds:
        mail = content.mail
        mail.subject = mail.subject or common.title
        if not mail.text and not mail.html:
            mail.text = f"{common.text}\n\n{common.link}\n" if common.link else f"{common.text}\n"


def _expand_body(body: LocalizedBody, layout: str, library: Library) -> None:
    for kind in kinds_of(body.content):
        for text in texts_of(body.content, kind):
            limit = MAX_BODY_BYTES.get(text.key, MAX_TEXT_BYTES) if kind is Kind.MAIL else MAX_TEXT_BYTES
            source, content = text.source, None
            if layout and text.html:
                source, content = f'{{% include "{layout}" %}}', text.source
            try:
                whole = includes.expand(source, library.find(body.locale, content), limit)
            except SourceFault as fault:
                raise at_body(fault.message, body.locale, kind, text.key, fault.line) from None
            if whole is not text.source:
                _put(body.content, kind, text.key, whole)


def _put(content: Content, kind: Kind, key: str, source: str) -> None:
    if kind is Kind.PUSH:
        put_text(content.push, key, source)
    elif kind is Kind.SMS:
        content.sms.text = source
    else:
        setattr(content.mail, key, source)


def _wanted(sources: Iterable[str]) -> set[Reference]:
    wanted: set[Reference] = set()
    for source in sources:
        try:
            found = includes.references(source)
        except SourceFault:  # told with its place when the text is expanded
            continue
        wanted |= {parsed for reference in found if (parsed := includes.parse_reference(reference)) is not None}
    return {reference for reference in wanted if reference[0] != includes.CONTENT}


def _sources(partial: Partial) -> list[str]:
    return [partial.source, *(localized.source for localized in partial.localized)]


def _in_locale(partial: Partial, locale: str, default_locale: str) -> str | None:
    """In the locale or its parents, else what holds for all, else in the default locale."""
    by_locale = {normal_locale(localized.locale): localized.source for localized in partial.localized}
    *own, default = fallbacks(locale, default_locale)
    return next((by_locale[tag] for tag in own if tag in by_locale), None) or partial.source or by_locale.get(default)
