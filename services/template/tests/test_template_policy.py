import contextlib

import minijinja
import pytest

from clarion_template.source import bounds, engine, lexer, policy
from clarion_template.source.sheet import CompileFault, Failure, RenderFault, Sheet, Text


def sheet(source: str, *, html: bool = False) -> Sheet:
    return Sheet(engine.environment(), "sheet", [Text("body", source, html)])


@pytest.mark.parametrize(
    "source",
    [
        '{{ "%0900000000d"|format(1) }}',
        "{{ x|indent(1000000000) }}",
        "{{ x|batch(1000000000, 'x') }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 9 }}",
        "{{ x|tojson }}",
        "{{ x|pprint }}",
        "{{ x|map('upper')|center(1000000) }}",
        "{% macro m() %}{% endmacro %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{% autoescape false %}{{ x }}{% endautoescape %}",
        "{% filter upper %}{{ x }}{% endfilter %}",
        "{% set a %}{{ x }}{{ x }}{% endset %}",
        "{% for i in x recursive %}{{ loop(i) }}{% endfor %}",
        "{% set a = [x, x] %}{{ a }}",
        "{% set a = x, x %}{{ a }}",
        "{% set a = (x, x) %}{{ a }}",
        "{% set a = {'a': x} %}{{ a }}",
        "{% set a = x|default([x, x]) %}{{ a }}",
        "{% for a in [x, x] %}{{ a }}{% endfor %}",
        "{% with a = [x, x] %}{{ a }}{% endwith %}",
        "{% set a = x ~ x %}{% set b = a ~ a %}{{ b }}",
        "{% set a = x %}{% for i in y %}{% set a = a + a %}{% endfor %}",
        "{% set a = x ~ x ~ x ~ x ~ x %}{{ a }}",
        "{{ namespace() }}",
        "{{ debug() }}",
        "{{ x.upper() }}",
        "{{ self.x() }}",
        "{{ x }}\ufdd0",
        "{{ x" + " ~ x" * 65 + " }}",
        "{{ 1" + " + 1" * 65 + " }}",
        "{{ " + "not " * 1_000 + "x }}",
        "{% include 'x' %}",
    ],
)
def test_what_could_grow_without_bound_is_refused(source: str) -> None:
    with pytest.raises(CompileFault):
        sheet(source)


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("{% set total = price|times(2) + 1 %}{{ total }}", "21"),
        ("{% set greeting = 'Hi' if vip else 'Hello' %}{{ greeting }} {{ name }}", "Hello Ann"),
        (
            "{% for i in items %}{{ loop.cycle('a', 'b') }}{{ i.n }}{% if not loop.last %}, {% endif %}{% endfor %}",
            "a1, b2",
        ),
        ("{% with a = name, b = price %}{{ a }}{{ b }}{% endwith %}", "Ann10"),
        ("{% for k, v in map|items %}{{ k }}={{ v }}{% endfor %}", "k=1"),
        ("{{ items|map(attribute='n')|join('-') }}", "1-2"),
        ("{{ items[0].n }} {{ map['k'] }}", "1 1"),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        ("{{ name|replace('n', 'nn') }}", "Annnn"),
        ("{{ 2.5|times(2) }}", "5"),
        ("{% set first = items[0] %}{{ first.n }}", "1"),
    ],
)
def test_everyday_templates_are_accepted(source: str, printed: str) -> None:
    data = {"price": 10, "vip": False, "name": "Ann", "items": [{"n": 1}, {"n": 2}], "map": {"k": 1}}

    accepted = sheet(source)

    assert accepted.text("body", accepted.slots(data)) == printed


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a\n{{ x|nope }}", 2),
        ("a\n\n{% if x %}", 3),
        ("{{ x", 1),
        ("\n{# x", 2),
        ("\n\n{{ a b }}", 3),
        ("\n{% endif %}", 2),
    ],
)
def test_a_fault_names_its_line(source: str, line: int) -> None:
    with pytest.raises(CompileFault) as refused:
        sheet(source)

    assert (refused.value.key, refused.value.line) == ("body", line)


@pytest.mark.parametrize(
    ("source", "required"),
    [
        ("{{ a }}{{ b.c }}", {"a", "b"}),
        ("{{ a|default('x') }}", set()),
        ("{{ a|default('x') }}{{ a }}", {"a"}),
        ("{% if a is defined %}{{ a }}{% endif %}", set()),
        ("{% if a is not defined %}-{% else %}{{ a }}{% endif %}", set()),
        ("{% for i in a %}{{ i }}{{ loop.index }}{% endfor %}", {"a"}),
        ("{% set b = a %}{{ b }}", {"a"}),
        ("{{ a|default(b) }}", {"b"}),
        ("{% for i in range(2) %}{{ i }}{% endfor %}", set()),
        ("{{ a.b|default('x') }}", {"a"}),
    ],
)
def test_variables_without_a_default_are_required(source: str, required: set[str]) -> None:
    assert sheet(source).required == required


def test_a_missing_variable_is_named_with_its_path() -> None:
    compiled = sheet("{{ order.id }}{{ order.total }}")

    with pytest.raises(RenderFault) as refused:
        compiled.slots({"order": {"id": 1}})

    assert (refused.value.failure, refused.value.variables) == (Failure.MISSING_VARIABLE, ("order.total",))


def test_a_loop_without_end_runs_out_of_fuel() -> None:
    compiled = sheet("{% for a in x %}{% for b in x %}{% for c in x %}.{% endfor %}{% endfor %}{% endfor %}")

    with pytest.raises(RenderFault) as refused:
        compiled.slots({"x": list(range(100))})

    assert refused.value.failure is Failure.TOO_LARGE


@pytest.mark.parametrize(
    "source", ["{{ x|list|join(x) }}", "{{ x|replace('a', x) }}", "{{ range(100000) }}", "{{ n|times(n) }}"]
)
def test_filters_of_ours_refuse_large_results(source: str) -> None:
    with pytest.raises(RenderFault) as refused:
        sheet(source).slots({"x": "a" * 16_000, "n": 2**53})

    assert refused.value.failure is Failure.TOO_LARGE


def test_html_is_escaped_in_html_alone() -> None:
    data = {"x": "<b>&\"'/", "l": ["<", "&"]}

    assert sheet("{{ x }}").slots(data) == [data["x"]]
    assert sheet("{{ x }}", html=True).slots(data) == ["&lt;b&gt;&amp;&quot;&#x27;&#x2f;"]
    assert sheet("{{ l|join('<') }}", html=True).slots(data) == ["&lt;&lt;&amp;"]
    assert sheet("{{ x|replace('b', '<i>') }}", html=True).slots(data)[0].startswith("&lt;&lt;i")


def test_our_escape_is_the_engines() -> None:
    text = "".join(map(chr, range(32, 0x250)))

    assert engine.environment().render_str("{{ x }}", "x.html", x=text) == engine.escape(text)


def test_data_with_the_separator_fails_alone() -> None:
    with pytest.raises(RenderFault) as refused:
        sheet("{{ x }}").slots({"x": policy.SEPARATOR})

    assert refused.value.failure is Failure.INVALID


@pytest.mark.parametrize("name", sorted(policy.FILTERS))
def test_every_filter_that_is_allowed_exists(name: str) -> None:
    refused = ""
    # Applied to one letter, most filters complain about their arguments; an unknown one says so first.
    with contextlib.suppress(TypeError, ValueError, bounds.Bounded):
        try:
            engine.environment().eval_expr(f"x|{name}", x="a")
        except minijinja.TemplateError as error:
            refused = error.kind

    assert refused != "UnknownFilter"


@pytest.mark.parametrize("name", ["__init__", "items", "self", "data", "template_name", "name"])
def test_names_of_data_cannot_reach_the_engine(name: str) -> None:
    assert sheet("{{ x }}").slots({"x": "1", name: "2"}) == ["1"]


def test_lexing_takes_any_text() -> None:
    assert lexer.segments("") == []
