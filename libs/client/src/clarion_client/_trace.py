"""W3C trace context of outgoing calls (https://www.w3.org/TR/trace-context/); OpenTelemetry only if it is there."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

try:
    from opentelemetry.trace import SpanContext, get_current_span
except ImportError:
    _current_span: "Callable[[], SpanContext] | None" = None
else:

    def _span_context() -> SpanContext:
        return get_current_span().get_span_context()

    _current_span = _span_context

HEADER = "traceparent"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """Which trace a call belongs to. `trace_id` 32 and `span_id` 16 hex digits."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @property
    def sampled_trace_id(self) -> str:
        """The trace id where the trace is recorded, else ""."""
        return self.trace_id if self.sampled else ""


def current() -> TraceContext | None:
    """The caller's span, None where there is none: the server then draws lots."""
    if _current_span is None:
        return None
    span = _current_span()
    if not span.is_valid:
        return None
    return TraceContext(f"{span.trace_id:032x}", f"{span.span_id:016x}", bool(span.trace_flags.sampled))


def forced() -> TraceContext:
    """A sampled context: of the caller's trace if there is one, else of a new trace."""
    span = current()
    if span is not None:
        return TraceContext(span.trace_id, span.span_id, sampled=True)
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8), sampled=True)
