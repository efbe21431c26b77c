"""JSON documents of other people: reading them without trusting their shape."""

import json
from collections.abc import Mapping, Sequence

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]


def parse(data: bytes) -> Json:
    """The document, None if there is none."""
    try:
        document: Json = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document


def part(value: Json, name: str) -> Mapping[str, Json]:
    """The object under ``name``, empty if there is none."""
    inner = value.get(name) if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def text(value: Json, limit: int = 4_000) -> str:
    """A text or number as text of at most ``limit`` characters, else empty."""
    if isinstance(value, str):
        return value[:limit]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def first_text(*values: Json) -> str:
    """The first value that is a text with something in it, else empty."""
    return next((found for found in map(text, values) if found), "")
