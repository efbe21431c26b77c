"""Refusals of this service, as callers are told them. No refusal holds template data."""

from clarion_kit.errors import DomainError, ErrorReason
from clarion_template.compiled import Kind
from clarion_template.source.sheet import CompileFault, Failure, RenderFault

MAX_DETAIL_BYTES = 128

REASONS = {
    Failure.MISSING_VARIABLE: ErrorReason.MISSING_VARIABLE,
    Failure.TOO_LARGE: ErrorReason.TOO_LARGE,
    Failure.WRONG_TYPE: ErrorReason.INVALID_FIELD,
    Failure.INVALID: ErrorReason.TEMPLATE_INVALID,
}


def template_not_found(name: str) -> DomainError:
    return DomainError(ErrorReason.TEMPLATE_NOT_FOUND, "no such template", metadata={"template": name})


def locale_not_found(name: str, locale: str) -> DomainError:
    return DomainError(
        ErrorReason.LOCALE_NOT_FOUND,
        "the template has no body in that locale or its fallbacks",
        metadata={"template": name, "locale": locale},
    )


def render_refused(name: str, fault: RenderFault) -> DomainError:
    """MISSING_VARIABLE names the variables; other faults of data name what is wrong."""
    if fault.failure is Failure.MISSING_VARIABLE:
        listed = ",".join(fault.variables)
        return DomainError(
            ErrorReason.MISSING_VARIABLE,
            f"{fault.message}: {listed}",
            metadata={"template": name, "variables": listed},
        )
    return DomainError(REASONS[fault.failure], fault.message, metadata={"template": name})


def compile_refused(fault: CompileFault, locale: str, kind: Kind) -> DomainError:
    """TEMPLATE_INVALID with the place of the fault."""
    return at_body(fault.message, locale, kind, fault.key, fault.line)


def at_body(message: str, locale: str, kind: Kind, key: str, line: int) -> DomainError:
    """TEMPLATE_INVALID: `message`, in the text `key` of a locale's channel."""
    return DomainError(
        ErrorReason.TEMPLATE_INVALID,
        f"{locale}, {kind.value}.{key}, line {line}: {message}",
        metadata={"locale": locale, "channel": kind.value, "field": key, "line": str(line)},
    )


def detail(fault: RenderFault) -> str:
    """At most 128 bytes that say what was wrong."""
    text = ",".join(fault.variables) or fault.message
    return text.encode()[:MAX_DETAIL_BYTES].decode(errors="ignore")
