"""One whole message for the reader: its summary, what the protocol carried, and for mail its bodies and source."""

import json

from clarion_sandbox.ledger import Arrival

from . import mail, sms
from .json_value import Json, parse
from .summary import Summary

_MAX_SOURCE_BYTES = 1 << 18


def document(arrival: Arrival, summary: Summary) -> dict[str, Json]:
    """As the page reads it: ``summary``, ``attributes``, ``source`` (cut at 256 KiB), and by channel ``segments`` or ``mail``."""
    shown: dict[str, Json] = {
        "summary": summary.document(),
        "attributes": dict(arrival.attributes),
        "source": _source(arrival.content),
        "source_cut": len(arrival.content) > _MAX_SOURCE_BYTES,
        "size": len(arrival.content),
    }
    if summary.channel == "sms":
        shown["segments"] = sms.segments(arrival)
    if summary.channel == "mail":
        shown["mail"] = _mail(mail.read(arrival.content))
    return shown


def _mail(read: mail.Mail) -> dict[str, Json]:
    return {
        "headers": [[name, value] for name, value in read.headers],
        "text": read.text,
        "has_html": read.html is not None,
        "attachments": [
            {
                "name": part.name,
                "content_type": part.content_type,
                "size": part.size,
                "inline": part.content_id in read.pictures,
            }
            for part in read.attachments
        ],
    }


def _source(content: bytes) -> str:
    """The text as sent; JSON indented."""
    if len(content) <= _MAX_SOURCE_BYTES and content[:1] in (b"{", b"["):
        parsed = parse(content)
        if parsed is not None:
            return json.dumps(parsed, indent=2, ensure_ascii=False)
    return content[:_MAX_SOURCE_BYTES].decode("utf-8", "replace")
