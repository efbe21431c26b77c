"""Storing and previewing: what an app writes is checked, tried out in the guarded child, split into frames, stored."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clarion.template.v1.template_service_pb2 import Template
from clarion.types.v1.content_pb2 import Content, SmsContent
from clarion_template import data as template_data
from clarion_template.compiled import CompiledVersion, Kind, MailBody, kinds_of, texts_of, whole_mail, whole_push
from clarion_template.domain import DEFAULT_LOCALE, NewVersion, VersionKey
from clarion_template.faults import at_body, compile_refused, locale_not_found, render_refused, template_not_found
from clarion_template.guard.protocol import Request
from clarion_template.ports import Guard, Store
from clarion_template.source.engine import Data
from clarion_template.source.sheet import CompileFault, Failure, RenderFault, Text


@dataclass(frozen=True, slots=True)
class Put:
    """What was stored."""

    version: int
    variables: tuple[str, ...]


class Author:
    """Writes and previews templates of an app."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard

    async def put(self, app_id: int, template: Template, *, publish: bool) -> Put:
        """Store a validated template (validation.py). The same content keeps its version.

        Raises DomainError TEMPLATE_INVALID, MISSING_VARIABLE, INVALID_FIELD, OVERLOADED; Unavailable.
        """
        content = Template()
        content.CopyFrom(template)
        content.ClearField("version")
        content.ClearField("created_at")
        content.default_locale = content.default_locale or DEFAULT_LOCALE
        document = content.SerializeToString(deterministic=True)
        # Cutting two megabytes of sources takes a while: not on the loop that renders.
        compiled = await asyncio.to_thread(_compile, content)
        await self._try_out(content)
        new = NewVersion(
            app_id,
            content.name,
            document,
            hashlib.sha256(document).digest(),
            tuple(sorted(compiled.outline().used)),
            tuple(compiled.locales.values()),
            _frames(compiled),
        )
        return Put(await self._store.put(new, publish=publish), new.variables)

    async def preview(self, key: VersionKey, locale: str, values: Data | None) -> tuple[Content, str]:
        """A stored version as a person would see it, with the samples where `values` is None, and the locale used.

        Raises DomainError TEMPLATE_NOT_FOUND, LOCALE_NOT_FOUND, MISSING_VARIABLE, INVALID_FIELD, OVERLOADED.
        """
        stored = await self._store.get(key)
        if stored is None:
            raise template_not_found(key.name)
        template = Template.FromString(stored.document)
        compiled = CompiledVersion(key, template)
        used = compiled.locale_for(locale)
        if used is None:
            raise locale_not_found(key.name, locale)
        body = next(body for body in template.bodies if body.locale == compiled.locales[used])
        if values is None:
            values = template_data.values(template.sample_data)
        rendered = Content()
        for kind in kinds_of(body.content):
            _require(compiled, used, kind, values, template.name)
            texts = {
                text.key: await self._render(template.name, body.locale, kind, text, values, worst=False)
                for text in texts_of(body.content, kind)
            }
            _add(rendered, kind, body.content, texts)
        return rendered, body.locale

    async def _try_out(self, template: Template) -> None:
        """Render every text of every body with the samples, then with data as large as is allowed."""
        try:
            sample = template_data.values(template.sample_data)
        except RenderFault as fault:
            raise render_refused(template.name, fault) from None
        done: set[Text] = set()
        for body in template.bodies:
            for kind in kinds_of(body.content):
                for text in texts_of(body.content, kind):
                    if "{" in text.source and text not in done:
                        await self._render(template.name, body.locale, kind, text, sample, worst=True)
                        done.add(text)

    async def _render(self, name: str, locale: str, kind: Kind, text: Text, values: Data, *, worst: bool) -> str:
        if "{" not in text.source:
            return text.source
        try:
            return await self._guard.render(Request(text.source, text.html, values, worst))
        except RenderFault as fault:
            if fault.failure is Failure.MISSING_VARIABLE:
                raise render_refused(name, fault) from None
            raise at_body(fault.message, locale, kind, text.key, fault.line) from None


def _compile(template: Template) -> CompiledVersion:
    """Compiled in full. Raises DomainError TEMPLATE_INVALID, MISSING_VARIABLE."""
    compiled = CompiledVersion(VersionKey(0, template.name, 0), template)
    missing: set[str] = set()
    for locale, written in compiled.locales.items():
        for kind in Kind:
            try:
                body = compiled.body(locale, kind)
            except CompileFault as fault:
                raise compile_refused(fault, written, kind) from None
            if body is not None:
                missing |= body.sheet.required - set(template.sample_data.fields)
    if missing:
        raise render_refused(
            template.name, RenderFault(Failure.MISSING_VARIABLE, "sample_data lacks variables", sorted(missing))
        )
    return compiled


def _require(compiled: CompiledVersion, locale: str, kind: Kind, values: Data, name: str) -> None:
    body = compiled.body(locale, kind)
    missing = body.sheet.required - values.keys() if body else ()
    if missing:
        raise render_refused(name, RenderFault(Failure.MISSING_VARIABLE, "variables are missing", sorted(missing)))


def _frames(compiled: CompiledVersion) -> dict[bytes, bytes]:
    bodies: Sequence[MailBody] = [body for _, _, body in compiled.bodies() if isinstance(body, MailBody)]
    return {body.frame_sha256: body.frame.SerializeToString(deterministic=True) for body in bodies}


def _add(rendered: Content, kind: Kind, content: Content, texts: Mapping[str, str]) -> None:
    if kind is Kind.PUSH:
        rendered.push.CopyFrom(whole_push(content.push, texts))
    elif kind is Kind.SMS:
        rendered.sms.CopyFrom(SmsContent(text=texts["text"]))
    else:
        rendered.mail.CopyFrom(whole_mail(texts))
