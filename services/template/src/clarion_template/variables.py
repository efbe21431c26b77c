"""Declared variables: what a declaration must be like, and the data that follows from it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.struct_pb2 import Struct, Value

from clarion.template.v1.template_service_pb2 import Template
from clarion.template.v1.variable_pb2 import Variable, VariableType
from clarion_channels.template_data import faults_of, value_faults
from clarion_kit.validate import Faults
from clarion_template.domain import MAX_DATA_BYTES, MAX_VALUE_BYTES
from clarion_template.source.engine import Data

MAX_VARIABLES = 256
MAX_DEPTH = 4
MAX_DESCRIPTION_BYTES = 256
MAX_LENGTH = 16 << 10
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset(
    {"loop", "range", "self", "true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is"}
)
_LONG = (VariableType.VARIABLE_TYPE_STRING, VariableType.VARIABLE_TYPE_LIST, VariableType.VARIABLE_TYPE_URL)


def check_variables(template: Template, faults: Faults) -> None:
    """Faults of the declarations, and of samples that are not what is declared."""
    count = sum(1 for _ in _each(template.variables, 0))
    if not faults.require("variables", count <= MAX_VARIABLES, f"more than {MAX_VARIABLES}"):
        return
    sound = not faults.found
    _check_level(template.variables, "variables", 0, faults)
    if sound and not faults.found:
        for fault in faults_of(template.variables, template.sample_data):
            faults.add(f"sample_data.{fault.path}", fault.message)


def _each(variables: Sequence[Variable], depth: int) -> Iterator[Variable]:
    for variable in variables:
        yield variable
        if depth <= MAX_DEPTH:
            yield from _each(variable.fields, depth + 1)
            if variable.HasField("items"):
                yield from _each([variable.items], depth + 1)


def _check_level(variables: Sequence[Variable], field: str, depth: int, faults: Faults) -> None:
    names = [variable.name for variable in variables]
    faults.require(field, len(set(names)) == len(names), "a name is declared twice")
    for index, variable in enumerate(variables):
        with faults.within(f"{field}[{index}]."):
            sound = _NAME.fullmatch(variable.name) is not None and (depth > 0 or variable.name not in _RESERVED)
            faults.require("name", sound, "a letter or underscore, then letters, digits and underscores, ≤ 64")
            _check_one(variable, depth, faults)


def _check_one(variable: Variable, depth: int, faults: Faults) -> None:
    known = variable.type in VariableType.values() and variable.type
    if not faults.require("type", bool(known), "required"):
        return
    faults.text("description", variable.description, max_bytes=MAX_DESCRIPTION_BYTES, required=False, lines=True)
    faults.require(
        "default_value", not (variable.required and variable.HasField("default_value")), "a required one has no default"
    )
    faults.require("default_value", not (depth and variable.HasField("default_value")), "only a whole variable has one")
    faults.require("sample", not (depth and variable.HasField("sample")), "only a whole variable has one")
    faults.require(
        "max_length",
        not variable.max_length or (variable.type in _LONG and variable.max_length <= MAX_LENGTH),
        f"of a text, URL or list, at most {MAX_LENGTH}",
    )
    is_list = variable.type == VariableType.VARIABLE_TYPE_LIST
    is_object = variable.type == VariableType.VARIABLE_TYPE_OBJECT
    faults.require("items", is_list or not variable.HasField("items"), "only a list has items")
    faults.require("fields", is_object or not variable.fields, "only an object has fields")
    deeper = bool(variable.fields) or variable.HasField("items")
    if deeper and not faults.require("fields", depth < MAX_DEPTH, f"more than {MAX_DEPTH} levels deep"):
        return
    _check_level(variable.fields, "fields", depth + 1, faults)
    if variable.HasField("items"):
        with faults.within("items."):
            faults.require("name", not variable.items.name, "an item has none")
            _check_one(variable.items, depth + 1, faults)
    for field in ("sample", "default_value"):
        if variable.HasField(field):
            value: Value = getattr(variable, field)
            for fault in value_faults(variable, value, field):
                faults.add(fault.path, fault.message)


def with_samples(template: Template) -> Struct:
    """`sample_data`, and for what it lacks the samples and defaults of the declarations."""
    merged = Struct()
    merged.CopyFrom(template.sample_data)
    for variable in template.variables:
        if variable.name in merged.fields:
            continue
        if variable.HasField("sample"):
            merged.fields[variable.name].CopyFrom(variable.sample)
        elif variable.HasField("default_value"):
            merged.fields[variable.name].CopyFrom(variable.default_value)
    return merged


def defaults_of(template: Template) -> Struct:
    """Default values by name."""
    found = Struct()
    for variable in template.variables:
        if variable.HasField("default_value"):
            found.fields[variable.name].CopyFrom(variable.default_value)
    return found


def required_of(template: Template) -> frozenset[str]:
    """Variables that must be given whatever the sources say."""
    return frozenset(variable.name for variable in template.variables if variable.required)


def longest(template: Template, sample: Data) -> Data | None:
    """The sample with texts and lists as long as the declarations let them be; None where no length is declared.

    What would go over the limits of all data stays as the sample has it: it could not be sent either.
    """
    if not any(variable.max_length for variable in _each(template.variables, 0)):
        return None
    stretched: dict[str, object] = dict(sample)
    left = MAX_DATA_BYTES - sum(_size(value) for value in sample.values())
    for variable in template.variables:
        if variable.name in sample:
            value = _stretched(variable, sample[variable.name])
            more = _size(value) - _size(sample[variable.name])
            if more <= left and _size(value) <= MAX_VALUE_BYTES:
                stretched[variable.name] = value
                left -= more
    return stretched


def _stretched(variable: Variable, value: object) -> object:
    if isinstance(value, str) and variable.max_length and variable.type in _LONG:
        filler = value or "x"
        return value + (filler * (variable.max_length // len(filler) + 1))[: max(0, variable.max_length - len(value))]
    if isinstance(value, list) and value:
        items = [_stretched(variable.items, item) for item in value] if variable.HasField("items") else value
        wanted = min(variable.max_length or len(items), 2_000)
        return [items[index % len(items)] for index in range(max(wanted, len(items)))]
    if isinstance(value, Mapping) and variable.fields:
        inner = {field.name: field for field in variable.fields}
        return {name: _stretched(inner[name], item) if name in inner else item for name, item in value.items()}
    return value


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode()) + 4
    if isinstance(value, Mapping):
        return sum(len(name) + 8 + _size(item) for name, item in value.items())
    if isinstance(value, Sequence):
        return sum(4 + _size(item) for item in value)
    return 12
