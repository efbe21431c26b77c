"""Fields of a template before anything is compiled."""

from clarion.template.v1.template_service_pb2 import CommonText, LocalizedBody, Partial, Template
from clarion.types.v1.content_pb2 import MailContent, PushContent
from clarion_channels.push.rules import check_structure
from clarion_kit.validate import Faults
from clarion_template.compiled import KINDS, Kind, kinds_of, texts_of
from clarion_template.domain import DEFAULT_LOCALE, LOCALE, MAX_LOCALES, normal_locale
from clarion_template.source.includes import CONTENT, parse_reference
from clarion_template.variables import check_variables

MAX_TEXT_BYTES = 16 << 10
MAX_SOURCE_BYTES = 256 << 10
"""Of one source of a partial."""
MAX_PARTIAL_BYTES = 1_000_000
MAX_PARTIALS = 32
MAX_BODY_BYTES = {"text": 256 << 10, "html": 512 << 10}


def check_template(template: Template) -> None:
    """Fields of a template as it was written. Raises DomainError INVALID_FIELD with every fault."""
    faults = Faults()
    with faults.within("template."):
        faults.name("name", template.name)
        faults.require("bodies", 1 <= len(template.bodies) <= MAX_LOCALES, f"1-{MAX_LOCALES} bodies are required")
        locales = [normal_locale(body.locale) for body in template.bodies]
        faults.require("bodies", len(set(locales)) == len(locales), "a locale has two bodies")
        default = normal_locale(template.default_locale or DEFAULT_LOCALE)
        if template.bodies:
            faults.require("default_locale", default in locales, "must have a body")
        for index, body in enumerate(template.bodies[:MAX_LOCALES]):
            with faults.within(f"bodies[{index}]."):
                faults.require(
                    "locale", LOCALE.fullmatch(normal_locale(body.locale)) is not None, "must be a BCP 47 tag"
                )
                if body.HasField("common"):
                    with faults.within("common."):
                        _check_common(body.common, faults)
                else:  # nothing fills its contents but what they say
                    _check_body(body, faults)
        if template.layout:
            faults.require("layout", parse_reference(template.layout) is not None, 'a name, or "name@version"')
        names = [partial.name for partial in template.partials]
        faults.require("partials", len(names) <= MAX_PARTIALS, f"more than {MAX_PARTIALS}")
        faults.require("partials", len(set(names)) == len(names), "a name is given twice")
        for index, partial in enumerate(template.partials[:MAX_PARTIALS]):
            with faults.within(f"partials[{index}]."):
                _check_partial(partial, faults)
        check_variables(template, faults)
    faults.raise_if_any()


def check_partial(partial: Partial) -> None:
    """Raises DomainError INVALID_FIELD with every fault."""
    faults = Faults()
    with faults.within("partial."):
        _check_partial(partial, faults)
        faults.require("source", partial.ByteSize() <= MAX_PARTIAL_BYTES, f"larger than {MAX_PARTIAL_BYTES} bytes")
    faults.raise_if_any()


def check_bodies(template: Template) -> None:
    """Contents of a template that is whole in itself. Raises DomainError INVALID_FIELD with every fault."""
    faults = Faults()
    with faults.within("template."):
        for index, body in enumerate(template.bodies):
            with faults.within(f"bodies[{index}]."):
                _check_body(body, faults)
    faults.raise_if_any()


def _check_common(common: CommonText, faults: Faults) -> None:
    for name, text in (("title", common.title), ("link", common.link), ("image_url", common.image_url)):
        faults.text(name, text, max_bytes=MAX_TEXT_BYTES, required=False, lines=True)
    faults.text("text", common.text, max_bytes=MAX_TEXT_BYTES, lines=True)
    faults.require("channels", all(channel in KINDS for channel in common.channels), "unknown")


def _check_partial(partial: Partial, faults: Faults) -> None:
    faults.name("name", partial.name)
    faults.require("name", partial.name != CONTENT, "is reserved for what a layout includes")
    faults.text("source", partial.source, max_bytes=MAX_SOURCE_BYTES, required=not partial.localized, lines=True)
    faults.require("localized", len(partial.localized) <= MAX_LOCALES, f"more than {MAX_LOCALES}")
    locales = [normal_locale(localized.locale) for localized in partial.localized]
    faults.require("localized", len(set(locales)) == len(locales), "a locale is given twice")
    for index, localized in enumerate(partial.localized[:MAX_LOCALES]):
        with faults.within(f"localized[{index}]."):
            tag = normal_locale(localized.locale)
            faults.require("locale", LOCALE.fullmatch(tag) is not None, "must be a BCP 47 tag")
            faults.text("source", localized.source, max_bytes=MAX_SOURCE_BYTES, lines=True)


def _check_body(body: LocalizedBody, faults: Faults) -> None:
    with faults.within("content."):
        kinds = kinds_of(body.content)
        faults.require("push", bool(kinds), "content for at least one channel is required")
        for kind in kinds:
            with faults.within(f"{kind.value}."):
                for text in texts_of(body.content, kind):
                    limit = MAX_BODY_BYTES.get(text.key, MAX_TEXT_BYTES) if kind is Kind.MAIL else MAX_TEXT_BYTES
                    faults.text(text.key, text.source, max_bytes=limit, required=False, lines=True)
        if Kind.PUSH in kinds:
            _check_push(body.content.push, faults)
        if Kind.SMS in kinds:
            faults.require("sms.text", bool(body.content.sms.text), "required")
        if Kind.MAIL in kinds:
            _check_mail(body.content.mail, faults)


def _check_push(push: PushContent, faults: Faults) -> None:
    silent = push.ios.content_available or push.data
    faults.require("push.title", bool(push.title or push.body or silent), "title or body is required")
    with faults.within("push."):
        check_structure(push, faults)


def _check_mail(mail: MailContent, faults: Faults) -> None:
    faults.require("mail.text", bool(mail.text or mail.html), "required")
    if faults.require("mail.subject", bool(mail.subject), "required"):
        faults.require("mail.subject", "\n" not in mail.subject and "\r" not in mail.subject, "must be one line")
