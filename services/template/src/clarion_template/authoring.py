"""Storing and previewing: what an app writes is made whole, checked, tried out in the guarded child, split into frames, stored."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct

from clarion.template.v1.template_service_pb2 import LintWarning, Template
from clarion.types.v1.content_pb2 import Content, SmsContent
from clarion_channels.template_data import faults_of
from clarion_kit.errors import FieldFault, invalid_fields
from clarion_template import data as template_data
from clarion_template.compiled import CompiledVersion, Kind, MailBody, kinds_of, texts_of, whole_mail, whole_push
from clarion_template.domain import NewVersion, VersionKey, normal_locale
from clarion_template.faults import at_body, compile_refused, locale_not_found, render_refused, template_not_found
from clarion_template.flatten import Flat, Flattener
from clarion_template.guard.protocol import Request
from clarion_template.lint import Place, lint
from clarion_template.ports import Guard, Store
from clarion_template.source.engine import Data
from clarion_template.source.sheet import CompileFault, Failure, RenderFault, Text
from clarion_template.validation import check_bodies
from clarion_template.variables import longest


@dataclass(frozen=True, slots=True)
class Checked:
    """A template that may be stored: as it was written, whole in itself, compiled, and what may be wrong with it."""

    written: Template
    flat: Flat
    compiled: CompiledVersion
    variables: tuple[str, ...]
    warnings: Sequence[LintWarning]


@dataclass(frozen=True, slots=True)
class Put:
    """What was stored."""

    version: int
    variables: tuple[str, ...]
    warnings: Sequence[LintWarning]


class Author:
    """Writes and previews templates of an app."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store = store
        self._guard = guard
        self._flattener = Flattener(store, guard)

    async def put(self, app_id: int, template: Template, *, publish: bool, by: str = "") -> Put:
        """Store a validated template (validation.py) for the API key `by`. The same content keeps its version.

        Raises DomainError TEMPLATE_INVALID, MISSING_VARIABLE, INVALID_FIELD, OVERLOADED; Unavailable.
        """
        checked = await self.check(app_id, template)
        written = checked.written.SerializeToString(deterministic=True)
        document = checked.flat.template.SerializeToString(deterministic=True)
        source = b"" if written == document else written
        new = NewVersion(
            app_id,
            template.name,
            document,
            hashlib.sha256(source + document).digest(),
            checked.variables,
            tuple(checked.compiled.locales.values()),
            _frames(checked.compiled),
            source,
            by,
        )
        return Put(await self._store.put(new, publish=publish), checked.variables, checked.warnings)

    async def check(self, app_id: int, template: Template) -> Checked:
        """Everything but storing. Raises as `put`."""
        flat = await self._flattener.flatten(app_id, template)
        check_bodies(flat.template)
        # Cutting two megabytes of sources takes a while: not on the loop that renders.
        compiled, used = await asyncio.to_thread(_compile, flat.template)
        samples, worst = await self._try_out(flat.template)
        warnings = await asyncio.to_thread(lint, flat.template, used, samples, worst, flat.generated)
        return Checked(_as_written(template, flat), flat, compiled, tuple(sorted(used)), warnings)

    async def preview(self, key: VersionKey, locale: str, given: Struct | None, zone: str) -> tuple[Content, str]:
        """A stored version as a person in `zone` would see it, with the samples where nothing is given, and the locale used.

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
        values = _given(compiled, template.sample_data if given is None else given)
        rendered = Content()
        for kind in kinds_of(body.content):
            _require(compiled, used, kind, values, template.name)
            texts = {
                text.key: await self._render(template.name, body.locale, kind, text, values, zone=zone)
                for text in texts_of(body.content, kind)
            }
            _add(rendered, kind, body.content, texts)
        return rendered, body.locale

    async def _try_out(self, template: Template) -> tuple[dict[Place, str], dict[Place, str]]:
        """Every text of every body with the samples (and again with data as large as is allowed), and the short ones with values
        as long as declared, where lengths are."""
        try:
            sample = template_data.values(template.sample_data)
        except RenderFault as fault:
            raise render_refused(template.name, fault) from None
        long = longest(template, sample)
        samples: dict[Place, str] = {}
        longer: dict[Place, str] = {}
        for body in template.bodies:
            for kind in kinds_of(body.content):
                for text in texts_of(body.content, kind):
                    place = (body.locale, kind, text.key)
                    samples[place] = await self._render(template.name, body.locale, kind, text, sample, worst=True)
                    if long is not None and kind is not Kind.MAIL:
                        longer[place] = await self._render(template.name, body.locale, kind, text, long)
        return samples, longer

    async def _render(
        self, name: str, locale: str, kind: Kind, text: Text, values: Data, *, worst: bool = False, zone: str = ""
    ) -> str:
        if "{" not in text.source:
            return text.source
        try:
            return await self._guard.render(Request(text.source, text.html, values, worst, normal_locale(locale), zone))
        except RenderFault as fault:
            if fault.failure is Failure.MISSING_VARIABLE:
                raise render_refused(name, fault) from None
            raise at_body(fault.message, locale, kind, text.key, fault.line) from None


def _as_written(template: Template, flat: Flat) -> Template:
    """What GetTemplate gives back: without what the service gives, with the app's partials that were put in."""
    written = Template()
    written.CopyFrom(template)
    for given in ("version", "created_at", "created_by", "used_partials"):
        written.ClearField(given)
    written.default_locale = flat.template.default_locale
    for name, version in flat.used:
        written.used_partials.add(name=name, version=version)
    return written


def _compile(template: Template) -> tuple[CompiledVersion, frozenset[str]]:
    """Compiled in full, and the variables used. Raises DomainError TEMPLATE_INVALID, MISSING_VARIABLE."""
    compiled = CompiledVersion(VersionKey(0, template.name, 0), template)
    missing = compiled.required - set(template.sample_data.fields)
    used: set[str] = set()
    for locale, written in compiled.locales.items():
        for kind in Kind:
            try:
                body = compiled.body(locale, kind)
            except CompileFault as fault:
                raise compile_refused(fault, written, kind) from None
            if body is not None:
                missing |= body.sheet.required - set(template.sample_data.fields)
                used |= body.sheet.used
    if missing:
        raise render_refused(
            template.name, RenderFault(Failure.MISSING_VARIABLE, "sample_data lacks variables", sorted(missing))
        )
    return compiled, frozenset(used)


def _given(compiled: CompiledVersion, data: Struct) -> Data:
    faults = faults_of(compiled.template.variables, data)
    if faults:
        raise invalid_fields(FieldFault(f"data.{fault.path}", fault.message) for fault in faults)
    try:
        return compiled.data(data)
    except RenderFault as fault:
        raise render_refused(compiled.key.name, fault) from None


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
