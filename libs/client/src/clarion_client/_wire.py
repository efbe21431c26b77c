"""Python values as protobuf's well-known types; whatever would be changed silently is refused."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
"""What template data may hold."""

_EXACT_INTEGERS = 2**53
_MAX_DEPTH = 32


def timestamp(name: str, moment: datetime) -> Timestamp:
    """Raises ValueError for a naive datetime: nobody knows which moment it means."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(f"{name} has no time zone; use datetime.now(UTC) or attach a zone")
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def optional_timestamp(name: str, moment: datetime | None) -> Timestamp | None:
    return None if moment is None else timestamp(name, moment)


def local_time(name: str, wall: datetime | None) -> str:
    """Raises ValueError for a datetime that has a zone: it is meant in each recipient's own."""
    if wall is None:
        return ""
    if wall.tzinfo is not None:
        raise ValueError(f"{name} is a wall time without a zone")
    return wall.isoformat(timespec="seconds")


def duration(length: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(length)
    return message


def struct(data: Mapping[str, JsonValue]) -> Struct:
    """Raises ValueError, naming the place, for what JSON cannot hold and for integers beyond ±2^53: a Struct keeps
    numbers as doubles (RFC 8259 §6), so such an id would arrive as another one. Send it as a string."""
    message = Struct()
    for key, value in data.items():
        _fill(message.fields[key], value, f"data.{key}", depth=1)
    return message


def _fill(target: Value, value: object, path: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path[:200]} is nested deeper than {_MAX_DEPTH}")
    if value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, int | float):
        if isinstance(value, int) and abs(value) > _EXACT_INTEGERS:
            raise ValueError(f"{path} is beyond ±2^53 and would lose digits; send it as a string")
        if not math.isfinite(value):
            raise ValueError(f"{path} is not a finite number")
        target.number_value = value
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for key, item in value.items():
            _fill(target.struct_value.fields[key], item, f"{path}.{key}", depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        target.list_value.SetInParent()
        for index, item in enumerate(value):
            _fill(target.list_value.values.add(), item, f"{path}[{index}]", depth + 1)
    else:
        raise ValueError(f"{path} is a {type(value).__name__}, which JSON does not have")
