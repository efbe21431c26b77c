import math
from collections.abc import Iterator

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from clarion.template.v1.variable_pb2 import Variable, VariableType
from clarion_channels.template_data import MAX_FAULTS, faults_of, holds_nul

STRING, NUMBER, BOOLEAN, DATETIME, LIST, OBJECT, URL = (
    VariableType.VARIABLE_TYPE_STRING,
    VariableType.VARIABLE_TYPE_NUMBER,
    VariableType.VARIABLE_TYPE_BOOLEAN,
    VariableType.VARIABLE_TYPE_DATETIME,
    VariableType.VARIABLE_TYPE_LIST,
    VariableType.VARIABLE_TYPE_OBJECT,
    VariableType.VARIABLE_TYPE_URL,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def found(variable: Variable, value: object) -> list[str]:
    data = ParseDict({variable.name: value}, Struct())
    return [f"{fault.path} {fault.message}" for fault in faults_of([variable], data)]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (STRING, ["", "x", "3"], [3, True, [], {}]),
        (NUMBER, [0, -1.5, 1e300], ["3", True, [], {}]),
        (BOOLEAN, [True, False], ["true", 1, [], {}]),
        (
            DATETIME,
            ["2026-11-22", "2026-11-22T20:00:00Z", "2026-11-22T20:00:00.5+09:00", 0, 1_790_000_000],
            ["soon", "2026-13-01", "", -1, 1e18, True, [], "9999-01-01", "2026-11-22T20:00:00Z" + "0" * 40],
        ),
        (LIST, [[], [1, "x"]], ["x", {}, 1]),
        (OBJECT, [{}, {"a": 1}], ["x", [], 1]),
        (
            URL,
            ["https://shop.example", "https://shop.example/a?b=c#d", "HTTPS://shop.example/é"],
            [
                *("http://shop.example", "javascript:alert(1)", "https://", "https:///x", "//shop.example", "", 1),
                *(
                    "https://user@shop.example",
                    "https://a b",
                    'https://a"b',
                    "https://a\nb",
                    "https://a/" + "x" * 2_048,
                ),
            ],
        ),
    ],
)
def test_a_value_is_what_it_is_declared_to_be(
    kind: VariableType.ValueType, good: list[object], bad: list[object]
) -> None:
    variable = Variable(name="v", type=kind)

    assert [value for value in good if found(variable, value)] == []
    assert [value for value in bad if not found(variable, value)] == []


def test_null_counts_as_not_given() -> None:
    assert found(Variable(name="v", type=NUMBER, required=True), None) == []


def test_a_fault_is_named_by_its_path() -> None:
    price = Variable(name="price", type=NUMBER, required=True)
    item = Variable(type=OBJECT, fields=[price, Variable(name="tags", type=LIST, items=Variable(type=STRING))])
    orders = Variable(name="orders", type=LIST, items=item)

    faults = found(orders, [{"price": 1}, {"price": "x", "tags": ["a", 2]}, {}])

    assert faults == [
        "orders[1].price must be a number",
        "orders[1].tags[1] must be a text",
        "orders[2].price is required",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        (Variable(name="v", type=STRING, max_length=3), "abcd", "v is longer than 3 characters"),
        (Variable(name="v", type=LIST, max_length=1), [1, 2], "v has more than 1 items"),
    ],
)
def test_lengths_are_kept(variable: Variable, value: object, fault: str) -> None:
    assert found(variable, value) == [fault]


def test_faults_end_at_twenty() -> None:
    numbers = Variable(name="v", type=LIST, items=Variable(type=NUMBER))

    assert len(found(numbers, ["x"] * 1_000)) == MAX_FAULTS


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    data = Struct()
    data.fields["v"].number_value = value

    assert faults_of([Variable(name="v", type=NUMBER)], data)
    assert faults_of([Variable(name="v", type=DATETIME)], data)


def test_a_type_of_a_newer_version_judges_nothing() -> None:
    newer = Variable(name="v")
    newer.type = 99  # type: ignore[assignment]

    assert found(newer, "anything") == []


def test_looking_changes_no_data() -> None:
    data = Struct()
    data.update({"a": {}})
    before = data.SerializeToString(deterministic=True)
    inner = Variable(name="b", type=STRING)

    faults_of([Variable(name="a", type=OBJECT, fields=[inner]), Variable(name="c", type=STRING)], data)

    assert data.SerializeToString(deterministic=True) == before


@given(JSON, st.sampled_from([STRING, NUMBER, BOOLEAN, DATETIME, LIST, OBJECT, URL]))
def test_any_value_is_judged(value: object, kind: VariableType.ValueType) -> None:
    faults = found(Variable(name="v", type=kind), value)

    assert len(faults) <= 1
    assert all(fault.startswith("v must be ") for fault in faults)


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield from (name, *texts(inner))
    for inner in value if isinstance(value, list) else ():
        yield from texts(inner)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_nul_is_found_in_texts_and_names_however_deep(value: dict[str, object]) -> None:
    assert holds_nul(ParseDict(value, Struct())) == any("\0" in text for text in texts(value))


@pytest.mark.parametrize("value", [0.0, 256.0, {"a": [0.0, {"b": "x"}]}, None])
def test_bytes_of_zero_in_numbers_are_no_nul(value: object) -> None:
    assert not holds_nul(ParseDict({"v": value}, Struct()))
