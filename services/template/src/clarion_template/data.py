"""Template data: google.protobuf.Struct to Python values, within limits."""

from google.protobuf.struct_pb2 import Struct, Value

from clarion_template.domain import MAX_DATA_BYTES, MAX_VALUE_BYTES
from clarion_template.source.sheet import Failure, RenderFault

_EXACT = 2.0**53


def values(struct: Struct) -> dict[str, object]:
    """The values by name; integral numbers are ints, so that 3 prints as "3". null counts as not given.

    Raises RenderFault for a value over 16 KiB or data over 64 KiB.
    """
    size = struct.ByteSize()
    if size > MAX_DATA_BYTES:
        raise RenderFault(Failure.TOO_LARGE, f"the data is larger than {MAX_DATA_BYTES} bytes")
    converted = _object(struct)
    if size > MAX_VALUE_BYTES:
        for value in struct.fields.values():
            _check_size(value)
    return converted


def _object(struct: Struct) -> dict[str, object]:
    converted: dict[str, object] = {}
    for name, value in struct.fields.items():
        text = value.string_value
        if text:  # the common case, without asking for the kind
            converted[name] = text
        elif (found := _value(value)) is not None:
            converted[name] = found
    return converted


def _value(value: Value) -> object:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return _object(value.struct_value)
    if kind == "list_value":
        return [_value(item) for item in value.list_value.values]
    return None


def _check_size(value: Value) -> None:
    kind = value.WhichOneof("kind")
    if kind == "string_value" and len(value.string_value.encode()) > MAX_VALUE_BYTES:
        raise RenderFault(Failure.TOO_LARGE, f"a value is larger than {MAX_VALUE_BYTES} bytes")
    if kind == "struct_value":
        for inner in value.struct_value.fields.values():
            _check_size(inner)
    elif kind == "list_value":
        for inner in value.list_value.values:
            _check_size(inner)
