"""JSON log lines with the current trace; secrets never reach them because their types hide themselves."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from opentelemetry import trace

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, daemon, trace id, and whatever `extra` brings."""

    def __init__(self, daemon: str) -> None:
        super().__init__()
        self._daemon = daemon

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "daemon": self._daemon,
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = trace.format_trace_id(context.trace_id)
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def is_fit(record: logging.LogRecord) -> bool:
    """Whether a record may be written: what libraries tell below INFO holds what they carry (hpack's every
    `authorization`, wherever nobody silenced it)."""
    return record.levelno >= logging.INFO or record.name.startswith("clarion")


def to_stream(daemon: str, level: str, stream: TextIO | None = None) -> None:
    """Make JSON lines on `stream` (default stderr) the only output of this process's logging; below INFO, of ours alone."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(daemon))
    handler.addFilter(is_fit)
    logging.basicConfig(level=level, handlers=[handler], force=True)
