"""What may be wrong with a template that is accepted: warnings, found in its texts as rendered with samples."""

import re
from collections.abc import Iterator, Mapping
from uuid import UUID

from clarion.template.v1.template_service_pb2 import LintCode, LintWarning, LocalizedBody, Template
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.push import size
from clarion_channels.push.content import InvalidMessage
from clarion_channels.text import gsm7
from clarion_channels.text.segments import MAX_PARTS, TooManyParts, split
from clarion_template.compiled import Kind, kinds_of, put_text
from clarion_template.domain import normal_locale

Place = tuple[str, Kind, str]
"""Locale as written, kind of content and key of a text."""

MAX_WARNINGS = 200
SUBJECT_CHARACTERS = 78
"""RFC 5322 §2.1.1 recommends lines no longer; mail programs show about as much."""
HTML_BYTES = 102 << 10
"""Where Gmail cuts a mail."""
PUSH_PROVIDERS = ("apns", "fcm", "huawei", "webpush")

_NAMED = 8
_INSECURE = re.compile(r"""(?:href|src|background)\s*=\s*["']?\s*http://""", re.IGNORECASE)
_NOBODY = UUID(int=0)


def lint(
    template: Template,
    used: frozenset[str],
    samples: Mapping[Place, str],
    worst: Mapping[Place, str],
    generated: frozenset[str],
) -> list[LintWarning]:
    """At most 200 warnings. `template` is flat, `used` its variables; `samples` are its texts with sample values, `worst` those with
    values as long as declared (empty: no lengths are), `generated` the locales whose mail got its text from its HTML."""
    warnings: list[LintWarning] = []
    for warning in _all(template, used, samples, worst, generated):
        warnings.append(warning)
        if len(warnings) == MAX_WARNINGS:
            break
    return warnings


def _all(
    template: Template,
    used: frozenset[str],
    samples: Mapping[Place, str],
    worst: Mapping[Place, str],
    generated: frozenset[str],
) -> Iterator[LintWarning]:
    yield from _variables(template, used)
    yield from _locales(template)
    for body in template.bodies:
        kinds = kinds_of(body.content)
        if Kind.PUSH in kinds:
            yield from _push(body, samples, worst)
        if Kind.SMS in kinds:
            yield from _sms(body.locale, samples[body.locale, Kind.SMS, "text"], "")
            if (long := worst.get((body.locale, Kind.SMS, "text"))) is not None:
                yield from _sms(body.locale, long, " with values as long as declared")
        if Kind.MAIL in kinds:
            yield from _mail(body.locale, samples, body.locale in generated)


def _variables(template: Template, used: frozenset[str]) -> Iterator[LintWarning]:
    declared = {variable.name for variable in template.variables}
    if not declared:
        return
    for name in sorted(used - declared):
        yield LintWarning(
            code=LintCode.LINT_CODE_UNDECLARED_VARIABLE, field=name, message="is used, and not declared as others are"
        )
    for name in sorted(declared - used):
        yield LintWarning(
            code=LintCode.LINT_CODE_UNUSED_VARIABLE, field=name, message="is declared, and no text uses it"
        )


def _locales(template: Template) -> Iterator[LintWarning]:
    bodies = {normal_locale(body.locale): body for body in template.bodies}
    default = normal_locale(template.default_locale)
    language = default.partition("-")[0]
    for locale, body in bodies.items():
        parent = locale.partition("-")[0]
        if parent not in bodies and parent != language:
            yield LintWarning(
                code=LintCode.LINT_CODE_MISSING_LOCALE,
                locale=body.locale,
                message=f"there is no body for {parent}: its other regions get {template.default_locale}",
            )
    if default not in bodies:
        return
    for body in bodies.values():
        missing = [kind for kind in kinds_of(bodies[default].content) if kind not in kinds_of(body.content)]
        for kind in missing:
            yield LintWarning(
                code=LintCode.LINT_CODE_MISSING_CONTENT,
                locale=body.locale,
                content=kind.value,
                message=f"the default locale has content for {kind.value}, this one has none: its recipients get none",
            )


def _push(body: LocalizedBody, samples: Mapping[Place, str], worst: Mapping[Place, str]) -> Iterator[LintWarning]:
    shown = _with(body, samples)
    large = set()
    for provider in PUSH_PROVIDERS:
        if (over := _over(provider, shown)) is not None:
            large.add(provider)
            yield _too_large(LintCode.LINT_CODE_TOO_LARGE, body.locale, provider, over, "with the samples")
    if worst:
        longest = _with(body, worst)
        for provider in PUSH_PROVIDERS:
            if provider not in large and (over := _over(provider, longest)) is not None:
                yield _too_large(
                    LintCode.LINT_CODE_TOO_LARGE_AT_WORST,
                    body.locale,
                    provider,
                    over,
                    "with values as long as declared",
                )
    for (locale, kind, key), text in samples.items():
        if locale == body.locale and kind is Kind.PUSH and _is_url(key) and text.lower().startswith("http://"):
            yield _not_https(locale, kind, key)


def _with(body: LocalizedBody, texts: Mapping[Place, str]) -> PushContent:
    push = PushContent()
    push.CopyFrom(body.content.push)
    for (locale, kind, key), text in texts.items():
        if locale == body.locale and kind is Kind.PUSH:
            put_text(push, key, text)
    return push


def _over(provider: str, push: PushContent) -> tuple[int, int] | None:
    try:
        found, limit = size.measured(provider, push, _NOBODY)
    except InvalidMessage:  # said when it is sent, with what is wrong
        return None
    return (found, limit) if found > limit else None


def _too_large(code: LintCode.ValueType, locale: str, provider: str, over: tuple[int, int], when: str) -> LintWarning:
    measured, limit = over
    return LintWarning(
        code=code,
        locale=locale,
        content=Kind.PUSH.value,
        message=f"{measured} bytes {when}, {provider} takes {limit}",
        measured=measured,
        limit=limit,
    )


def _sms(locale: str, text: str, when: str) -> Iterator[LintWarning]:
    plain = gsm7.transliterate(text)
    if not gsm7.is_gsm7(plain):
        foreign = sorted({character for character in plain if not gsm7.is_gsm7(character)})
        named = ", ".join(f"U+{ord(character):04X}" for character in foreign[:_NAMED])
        more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
        yield LintWarning(
            code=LintCode.LINT_CODE_SMS_UCS2,
            locale=locale,
            content=Kind.SMS.value,
            field="text",
            message=f"{named}{more} outside GSM-7: 70 characters a segment instead of 160{when}",
        )
        plain = text
    try:
        segments = len(split(plain).parts)
    except TooManyParts:
        segments = MAX_PARTS + 1
    if segments > 1:
        yield LintWarning(
            code=LintCode.LINT_CODE_SMS_SEGMENTS,
            locale=locale,
            content=Kind.SMS.value,
            field="text",
            message=f"{segments} segments{when}" if segments <= MAX_PARTS else f"more than {MAX_PARTS} segments{when}",
            measured=segments,
            limit=1,
        )


def _mail(locale: str, samples: Mapping[Place, str], generated: bool) -> Iterator[LintWarning]:
    subject = samples[locale, Kind.MAIL, "subject"]
    html = samples.get((locale, Kind.MAIL, "html"), "")
    if len(subject) > SUBJECT_CHARACTERS:
        yield LintWarning(
            code=LintCode.LINT_CODE_LONG_SUBJECT,
            locale=locale,
            content=Kind.MAIL.value,
            field="subject",
            message=f"{len(subject)} characters, mail programs show {SUBJECT_CHARACTERS}",
            measured=len(subject),
            limit=SUBJECT_CHARACTERS,
        )
    if (length := len(html.encode())) > HTML_BYTES:
        yield LintWarning(
            code=LintCode.LINT_CODE_LARGE_HTML,
            locale=locale,
            content=Kind.MAIL.value,
            field="html",
            message=f"{length} bytes, some mailboxes cut after {HTML_BYTES}",
            measured=length,
            limit=HTML_BYTES,
        )
    if _INSECURE.search(html):
        yield _not_https(locale, Kind.MAIL, "html")
    if generated:
        yield LintWarning(
            code=LintCode.LINT_CODE_GENERATED_TEXT,
            locale=locale,
            content=Kind.MAIL.value,
            field="text",
            message="was made from the HTML; see the preview",
        )


def _is_url(key: str) -> bool:
    return key.rpartition(".")[2] in ("link", "image_url", "icon_url", "badge_url")


def _not_https(locale: str, kind: Kind, key: str) -> LintWarning:
    return LintWarning(
        code=LintCode.LINT_CODE_NOT_HTTPS,
        locale=locale,
        content=kind.value,
        field=key,
        message="a link or picture begins with http://",
    )
