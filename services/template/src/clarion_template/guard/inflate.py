"""Worst-case data in the shape of a sample: what a template costs when everything is as large as is allowed."""

from collections.abc import Iterator, Mapping, Sequence

from clarion_template.domain import MAX_DATA_BYTES, MAX_VALUE_BYTES
from clarion_template.source.engine import Data

MAX_ITEMS = 2_000


def worst_cases(sample: Data) -> Iterator[Data]:
    """The sample with the longest texts, then with the longest lists, that the data limits let through."""
    strings = sum(1 for _ in _strings(sample))
    size = min(MAX_VALUE_BYTES, MAX_DATA_BYTES // max(1, strings))
    yield {name: _long_texts(value, size) for name, value in sample.items()}
    if any(isinstance(value, list) for value in sample.values()):
        yield {name: _long_list(value) for name, value in sample.items()}


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _strings(inner)


def _long_texts(value: object, size: int) -> object:
    if isinstance(value, str):
        text = value or "x"
        return (text * (size // len(text) + 1))[:size]
    if isinstance(value, Mapping):
        return {name: _long_texts(inner, size) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [_long_texts(inner, size) for inner in value]
    return value


def _long_list(value: object) -> object:
    if not isinstance(value, list) or not value:
        return value
    return (value * (MAX_ITEMS // len(value) + 1))[:MAX_ITEMS]
