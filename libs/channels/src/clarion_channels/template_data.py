"""Whether the data of a template is what its variables are declared to be. For every door that takes a notification."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.struct_pb2 import Struct, Value

from clarion.internal.template.v1.template_service_pb2 import Description
from clarion.notification.v1.notification_service_pb2 import TemplateRef
from clarion.template.v1.variable_pb2 import Variable, VariableType
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields

MAX_FAULTS = 20
MAX_URL_BYTES = 2_048
LAST_SECOND = 253_402_300_799
"""9999-12-31T23:59:59Z in Unix seconds."""

_URL = re.compile(r"https://[^\s/?#@\\\"'<>]+([/?#][^\s\"'<>\\]*)?", re.IGNORECASE)
_KINDS: Mapping[int, str] = {
    VariableType.VARIABLE_TYPE_STRING: "string_value",
    VariableType.VARIABLE_TYPE_NUMBER: "number_value",
    VariableType.VARIABLE_TYPE_BOOLEAN: "bool_value",
    VariableType.VARIABLE_TYPE_LIST: "list_value",
    VariableType.VARIABLE_TYPE_OBJECT: "struct_value",
}
_WORDS: Mapping[int, str] = {
    VariableType.VARIABLE_TYPE_STRING: "a text",
    VariableType.VARIABLE_TYPE_NUMBER: "a number",
    VariableType.VARIABLE_TYPE_BOOLEAN: "true or false",
    VariableType.VARIABLE_TYPE_DATETIME: "a date or moment in ISO 8601, or Unix seconds",
    VariableType.VARIABLE_TYPE_LIST: "a list",
    VariableType.VARIABLE_TYPE_OBJECT: "an object",
    VariableType.VARIABLE_TYPE_URL: "an https URL",
}


@dataclass(frozen=True, slots=True)
class DataFault:
    """A value that does not fit: `path` is where ("items[2].price"), `message` says what it must be, without the value."""

    path: str
    message: str


def faults_of(variables: Iterable[Variable], data: Struct) -> list[DataFault]:
    """At most 20 faults of the values given, in the order of the declarations. null counts as not given; top-level variables that
    are missing are not looked for here."""
    found: list[DataFault] = []
    _check_object(variables, data, "", found)
    return found


def holds_nul(data: Struct) -> bool:
    """Whether a text or a name in it holds a NUL, which no mail may and no text of the database can."""
    # Without a byte of zero there is none; numbers may have some, too.
    if b"\0" not in data.SerializeToString():
        return False
    pending: list[Struct | Value] = [data]
    while pending:
        found = pending.pop()
        if isinstance(found, Struct):
            if any("\0" in name for name in found.fields):
                return True
            pending += found.fields.values()
        elif found.HasField("struct_value"):
            pending.append(found.struct_value)
        elif found.HasField("list_value"):
            pending += found.list_value.values
        elif "\0" in found.string_value:
            return True
    return False


def check_reference(description: Description, reference: TemplateRef, path: str, *, digest: bool = False) -> None:
    """What the template service says of a template, against what is to be sent: faults are named under `path`, the field of
    its data. Data is judged by the published version alone. `digest`: the planner gives that variable.

    Raises TEMPLATE_NOT_FOUND, MISSING_VARIABLE, INVALID_FIELD (a value of the wrong type).
    """
    if not (reference.version or description.published_version) or reference.version > description.latest_version:
        raise DomainError(
            ErrorReason.TEMPLATE_NOT_FOUND,
            f"there is no published template {reference.name!r}",
            metadata={"template": reference.name},
        )
    if reference.version:
        return
    given = {*reference.data.fields, *(("digest",) if digest else ())}
    missing = [name for name in description.required_variables if name not in given]
    if missing:
        raise DomainError(
            ErrorReason.MISSING_VARIABLE,
            f"missing: {', '.join(missing)}",
            metadata={"template": reference.name, "variables": ",".join(missing)},
        )
    if faults := faults_of(description.variables, reference.data):
        raise invalid_fields(FieldFault(f"{path}.{fault.path}", fault.message) for fault in faults)


def value_faults(variable: Variable, value: Value, path: str) -> list[DataFault]:
    """At most 20 faults of one value."""
    found: list[DataFault] = []
    _check_value(variable, value, path, found)
    return found


def _check_object(variables: Iterable[Variable], data: Struct, prefix: str, found: list[DataFault]) -> None:
    fields = data.fields
    for variable in variables:
        if variable.name in fields:  # reading a map entry that is absent would make it
            _check_value(variable, fields[variable.name], prefix + variable.name, found)
        elif prefix and variable.required:
            _add(found, prefix + variable.name, "is required")


def _check_value(variable: Variable, value: Value, path: str, found: list[DataFault]) -> None:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value" or len(found) >= MAX_FAULTS:
        return
    declared = variable.type
    if not _is(declared, kind, value):
        _add(found, path, f"must be {_WORDS[declared]}")
    elif kind == "string_value":
        if variable.max_length and len(value.string_value) > variable.max_length:
            _add(found, path, f"is longer than {variable.max_length} characters")
    elif kind == "list_value":
        items = value.list_value.values
        if variable.max_length and len(items) > variable.max_length:
            _add(found, path, f"has more than {variable.max_length} items")
        elif variable.HasField("items"):
            for index, item in enumerate(items):
                _check_value(variable.items, item, f"{path}[{index}]", found)
    elif kind == "struct_value" and variable.fields:
        _check_object(variable.fields, value.struct_value, f"{path}.", found)


def _add(found: list[DataFault], path: str, message: str) -> None:
    if len(found) < MAX_FAULTS:
        found.append(DataFault(path[:256], message))


def _is(declared: int, kind: str, value: Value) -> bool:
    if (wanted := _KINDS.get(declared)) is not None:
        return wanted == kind and (kind != "number_value" or math.isfinite(value.number_value))
    if declared == VariableType.VARIABLE_TYPE_DATETIME:
        return _is_moment(kind, value)
    if declared == VariableType.VARIABLE_TYPE_URL:
        url = value.string_value
        return kind == "string_value" and len(url.encode()) <= MAX_URL_BYTES and _URL.fullmatch(url) is not None
    return True  # of a newer version: not for this one to judge


def _is_moment(kind: str, value: Value) -> bool:
    if kind == "number_value":
        return 0 <= value.number_value <= LAST_SECOND
    if kind != "string_value" or not 8 <= len(value.string_value) <= 40:
        return False
    try:
        return 2 <= datetime.fromisoformat(value.string_value).year <= 9998
    except ValueError:
        return False
