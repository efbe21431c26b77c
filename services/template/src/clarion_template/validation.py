"""Fields of a template before anything is compiled."""

from clarion.template.v1.template_service_pb2 import LocalizedBody, Template
from clarion.types.v1.content_pb2 import MailContent, PushContent
from clarion_kit.validate import Faults
from clarion_template.compiled import Kind, kinds_of, texts_of
from clarion_template.domain import DEFAULT_LOCALE, LOCALE, MAX_LOCALES, normal_locale

MAX_TEXT_BYTES = 16 << 10
MAX_BODY_BYTES = {"text": 256 << 10, "html": 512 << 10}
MAX_PUSH_DATA = 32
_RESERVED_DATA = ("google", "gcm", "clarion")


def check_template(template: Template) -> None:
    """Raises DomainError INVALID_FIELD with every fault."""
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
                _check_body(body, faults)
    faults.raise_if_any()


def _check_body(body: LocalizedBody, faults: Faults) -> None:
    faults.require("locale", LOCALE.fullmatch(normal_locale(body.locale)) is not None, "must be a BCP 47 tag")
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
    faults.require("push.data", len(push.data) <= MAX_PUSH_DATA, f"at most {MAX_PUSH_DATA} entries")
    for name in push.data:
        reserved = name == "from" or name.startswith(_RESERVED_DATA)
        faults.require(f"push.data[{name[:64]}]", not reserved, "a reserved key")


def _check_mail(mail: MailContent, faults: Faults) -> None:
    faults.require("mail.text", bool(mail.text or mail.html), "text or html is required")
    if faults.require("mail.subject", bool(mail.subject), "required"):
        faults.require("mail.subject", "\n" not in mail.subject and "\r" not in mail.subject, "must be one line")
