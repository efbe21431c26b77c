from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion_template.source import engine, lexer
from clarion_template.source.sheet import Sheet, Text
from clarion_template.source.split import split

DATA = {"name": "Ann <b>", "n": 3, "items": ["a", "}}", "%}"], "user": {"city": "Köln"}, "yes": True, "no": False}

SPACE = st.sampled_from(["", " ", "\n", "\r\n", "  \t", "\u00a0", "\u2003", "\x1c", "\x85"])
WORDS = st.sampled_from(
    ["Hi", "é안", "{ ", "}", "%}", "}}", "#}", "{ { ", "'", '"', "<p>", "</body>", "</BODY >", "-", "+"]
)
MARK = st.sampled_from(["", "-", "+"])
EXPRESSIONS = st.sampled_from(
    [
        "name",
        "n",
        "'}}'",
        '"%}"',
        '"a\\"}}b"',
        "{'a': {'b': 1}}.a.b",
        "items[1]",
        "name|upper",
        "items|join(', ')",
        "user.city",
        "missing|default('-}}')",
        "'yes' if yes else 'no'",
        "n - 1",
        "-n",
        "(n)",
        "name|safe",
    ]
)


@st.composite
def outputs(draw: st.DrawFn) -> str:
    return f"{{{{{draw(MARK)} {draw(EXPRESSIONS)} {draw(MARK)}}}}}"


@st.composite
def comments(draw: st.DrawFn) -> str:
    return f"{{#{draw(MARK)} {{{{ x }}}} {{% raw %}} {draw(MARK)}#}}"


@st.composite
def raws(draw: st.DrawFn) -> str:
    opening = f"{{%{draw(MARK)} raw {draw(MARK)}%}}"
    closing = f"{{%{draw(MARK)} endraw {draw(MARK)}%}}"
    return (
        opening + draw(SPACE) + draw(st.sampled_from(["{{ a }}", "{% if %}", "{# x", "text"])) + draw(SPACE) + closing
    )


@st.composite
def assignments(draw: st.DrawFn) -> str:
    value = draw(st.sampled_from(["n", "name", '"%}"', "items"]))
    return f"{{%{draw(MARK)} set x = {value} {draw(MARK)}%}}"


def blocks(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    @st.composite
    def block(draw: st.DrawFn) -> str:
        def tag(inside: str) -> str:
            return f"{{%{draw(MARK)} {inside} {draw(MARK)}%}}"

        body = draw(children)
        kind = draw(st.sampled_from(["if", "ifelse", "for", "with"]))
        if kind == "if":
            return tag("if yes") + body + tag("endif")
        if kind == "ifelse":
            return tag("if no") + body + tag("elif no") + body + tag("else") + draw(children) + tag("endif")
        if kind == "for":
            return tag("for i in items") + body + "{{ i }}" + tag("endfor")
        return tag("with y = '%}'") + body + tag("endwith")

    return block()


PIECES = st.recursive(
    st.one_of(SPACE, WORDS, outputs(), comments(), raws(), assignments()),
    lambda children: st.one_of(blocks(children), st.lists(children, min_size=2, max_size=4).map("".join)),
    max_leaves=8,
)
SOURCES = st.lists(PIECES, min_size=1, max_size=8).map("".join).map(lambda s: s.replace("{{{", "{ {{"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(SOURCES, st.booleans()), min_size=1, max_size=3))
def test_literals_and_slots_together_are_what_the_source_renders_to(sources: list[tuple[str, bool]]) -> None:
    environment = engine.environment()
    expected: list[str] = []
    texts: list[Text] = []
    for index, (source, html) in enumerate(sources):
        expected.append(environment.render_str(source, "x.html" if html else "x.txt", **DATA))
        texts.append(Text(str(index), source, html))
    sheet = Sheet(environment, "sheet", texts)

    slots = sheet.slots(DATA)

    assert [sheet.text(text.key, slots) for text in texts] == expected


@pytest.mark.parametrize(
    ("source", "parts", "slots"),
    [
        ("plain", ("plain",), ()),
        ("Hi {{ name }}!", ("Hi ", 0, "!"), ("{{ name }}",)),
        ("a  {{- x -}}  b", ("a", 0, "b"), ("{{- x -}}",)),
        ("a {# c #} b", ("a  b",), ()),
        ("{% raw %}{{ x }}{% endraw %}", ("{{ x }}",), ()),
        ("{% if a %}1{{ b }}{% else %}2{% endif %}3", (0, "3"), ("{% if a %}1{{ b }}{% else %}2{% endif %}",)),
        ("{% set x = a %}b{{ x }}", ("b", 0), ("{% set x = a %}{{ x }}",)),
        ('{{ "}}" }}{{ {"a": {}} }}', (0, 1), ('{{ "}}" }}', '{{ {"a": {}} }}')),
    ],
)
def test_only_top_level_constructs_become_slots(source: str, parts: Sequence[object], slots: Sequence[str]) -> None:
    found = split(source, lexer.segments(source))

    assert (found.parts, found.slots) == (parts, slots)


def test_what_one_text_assigns_does_not_show_in_the_next() -> None:
    environment = engine.environment()
    texts = [Text("a", "{% set x = 1 %}{{ x }}"), Text("b", "{{ x|default('none') }}")]
    sheet = Sheet(environment, "sheet", texts)

    slots = sheet.slots({})

    assert sheet.text("b", slots) == "none"


def test_a_source_has_at_most_a_thousand_slots() -> None:
    source = "{{ x }}" * 1_001

    with pytest.raises(lexer.SourceFault, match="varying parts"):
        split(source, lexer.segments(source))
