"""Partials, MJML and texts made from HTML: from what is written to a source."""

import minijinja
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_template.guard.mjml import to_html
from clarion_template.source import engine
from clarion_template.source.includes import MAX_DEPTH, expand, parse_reference, references
from clarion_template.source.lexer import SourceFault
from clarion_template.source.marks import mark, unmark
from clarion_template.source.plain_text import from_html


def printed(source: str, **data: object) -> str:
    return engine.environment().render_str(source, "en/x.txt", **data)


@pytest.mark.parametrize(
    ("source", "partials", "result"),
    [
        ("a{% include 'b' %}c", {"b": "B"}, "aBc"),
        ('a {%- include "b" -%} c', {"b": " B "}, "a B c"),
        ("{% include 'b' %}", {"b": "{% include 'c@2' %}!", "c@2": "{{ x }}"}, "X!"),
        ("{% include 'b' %}{{ y|default('-') }}", {"b": "{% set y = x %}{{ y }}"}, "X-"),
        ("{% for i in [1, 2] %}{% include 'b' %}{% endfor %}", {"b": "{{ i }}"}, "12"),
        ("{% raw %}{% include 'b' %}{% endraw %}", {}, "{% include 'b' %}"),
        ("{# {% include 'b' %} #}", {}, ""),
    ],
)
def test_partials_are_put_in(source: str, partials: dict[str, str], result: str) -> None:
    assert printed(expand(source, partials.get), x="X") == result


@pytest.mark.parametrize(
    ("source", "partials", "message"),
    [
        ("{% include 'a' %}", {"a": "{% include 'a' %}"}, "includes itself: a → a"),
        ("{% include 'a' %}", {"a": "{% include 'b' %}", "b": "{% include 'a' %}"}, "includes itself: a → b → a"),
        ("\n{% include 'x' %}", {}, "there is no partial 'x' for this locale"),
        ("{% include 'a' %}", {"a": "{% if x %}"}, "in the partial 'a': endif is missing"),
        ("{% include 'a' %}", {"a": "{% endif %}"}, "in the partial 'a': unexpected endif"),
        ("{% include 'a' %}", {"a": "{{ x"}, "in the partial 'a': {{ is not closed"),
        ("{% include x %}", {}, 'an include names one partial: {% include "name" %}'),
        ("{% include 'a' ignore missing %}", {}, 'an include names one partial: {% include "name" %}'),
        ("{% include ['a', 'b'] %}", {}, 'an include names one partial: {% include "name" %}'),
        ("{% include '../a' %}", {}, "a partial is named by 1-64 of a-z 0-9 _ -, and @version"),
        ("{% include '/etc/passwd' %}", {}, "a partial is named by 1-64 of a-z 0-9 _ -, and @version"),
        ("{% include 'a@0' %}", {}, "a partial is named by 1-64 of a-z 0-9 _ -, and @version"),
        ("{% include 'a' %}" * 1_001, {"a": ""}, "more than 1000 includes"),
        ("{% include 'a' %}" * 5, {"a": "x" * 150_000}, "over 524288 bytes with its partials"),
    ],
)
def test_partials_that_cannot_be_put_in_are_refused(source: str, partials: dict[str, str], message: str) -> None:
    with pytest.raises(SourceFault) as refused:
        expand(source, partials.get)

    assert refused.value.message == message


def test_nesting_ends_with_its_path() -> None:
    partials = {f"p{level}": f"{{% include 'p{level + 1}' %}}" for level in range(20)}

    with pytest.raises(SourceFault, match=f"includes more than {MAX_DEPTH} deep: p0 → p1 → "):
        expand("{% include 'p0' %}", partials.get)


def test_partials_that_multiply_end_at_their_size() -> None:
    partials = {f"p{level}": f"{{% include 'p{level + 1}' %}}" * 50 for level in range(6)} | {"p6": "x" * 100}

    with pytest.raises(SourceFault, match="over 524288 bytes"):
        expand("{% include 'p0' %}", partials.get)


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [
        ("a", ("a", 0)),
        ("a-b_1@12", ("a-b_1", 12)),
        ("A", None),
        ("a@", None),
        ("a@01", None),
        ("a" * 65, None),
        ("", None),
    ],
)
def test_a_reference_is_a_name_and_a_version(reference: str, parsed: tuple[str, int] | None) -> None:
    assert parse_reference(reference) == parsed


def test_what_a_source_includes_is_known_without_putting_it_in() -> None:
    assert references("{% include 'a' %}{% if x %}{% include 'b@2' %}{% endif %}{{ 'include' }}") == {"a", "b@2"}


PIECES = st.sampled_from(
    [
        "a ",
        "<b>",
        "{{ x }}",
        "{%- if x -%}",
        "{% endif %}",
        "{# c #}",
        "{% raw %}{{ y }}{% endraw %}",
        "\n",
        "é",
        "{{- x -}}",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_marks_change_no_text(source: str) -> None:
    try:
        expected = printed(source, x="X")
    except minijinja.TemplateError:
        return

    marked = mark(source)

    assert "{{ x" not in marked.text
    assert printed(unmark(marked.text, marked), x="X") == expected


def test_a_source_with_a_mark_is_refused() -> None:
    with pytest.raises(SourceFault, match="reserved"):
        mark("a qzk00001z b")


MJML = """<mjml><mj-head><mj-title>Order</mj-title></mj-head><mj-body>
<mj-section><mj-column>
<mj-text>Hi {{ name|default("you") }} &amp; co</mj-text>
<mj-raw>{% for item in items %}</mj-raw><mj-text>{{ item }}</mj-text><mj-raw>{% endfor %}</mj-raw>
<mj-button href="https://shop.example/{{ order }}">See it</mj-button>
</mj-column></mj-section></mj-body></mjml>"""


def test_mjml_becomes_html_with_its_constructs() -> None:
    html = to_html(MJML)

    assert html.startswith("<!doctype html>")
    assert '{{ name|default("you") }} &amp; co' in html
    assert 'href="https://shop.example/{{ order }}"' in html
    assert printed(html, items=["a", "b"], order=7).count("<td") > 3


def test_text_made_from_mjml_reads_well() -> None:
    text = from_html(to_html(MJML))

    assert printed(text, name="Ann", items=["one", "two"], order=7) == (
        "Hi Ann & co\n\none\n\ntwo\n\nSee it (https://shop.example/7)\n"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("<mjml><mj-body><mj-include path='/etc/passwd'/></mj-body></mjml>", "is no MJML"),
        ("<mjml><mj-body>", "is no MJML"),
        ("<mjml><mj-body></mj-section></mj-body></mjml>", "is no MJML"),
        ("<mjml><mj-nope/></mjml>", "is no MJML"),
        ("<mjml><mj-body>{% if x %}<mj-section/>{% endif %}<mj-image width='{{ x }}'/></mj-body></mjml>", "MJML drops"),
    ],
)
def test_what_is_no_mjml_or_would_lose_a_construct_is_refused(source: str, message: str) -> None:
    with pytest.raises(SourceFault) as refused:
        to_html(source)

    assert message in refused.value.message


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hi <b>you</b></p><p>there</p>", "Hi you\n\nthere\n"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b\n"),
        ("a<br>b<br/>c", "a\nb\nc\n"),
        ("<a href='https://x.example/{{ id }}'>Go</a>", "Go (https://x.example/{{ id }})\n"),
        ("<a href='https://x.example'>https://x.example</a>", "https://x.example\n"),
        ("<a href='#top'>Top</a> <a href='mailto:a@b.example'>a@b.example</a>", "Top a@b.example\n"),
        ("<img src='x' alt='A shoe'>", "A shoe\n"),
        ("<head><title>T</title></head><style>p{}</style><script>x()</script>Hi", "Hi\n"),
        ("<div style='display:none'>Preheader <b>x</b></div>Hi", "Hi\n"),
        (
            "<table><tr>{% for i in l %}<td>{{ i }}</td>{% endfor %}</tr></table>",
            "{% for i in l %} {{ i }}{% endfor %}\n",
        ),
        ("&lt;b&gt; &#123;{ x }} &nbsp;y", '<b> {{ "{" }}{ x }} y\n'),
        ("<h1>A</h1>\n\n\n\n<p>B</p>", "A\n\nB\n"),
        ("a<!-- {{ gone }} -->b", "ab\n"),
    ],
)
def test_html_reads_as_text(html: str, text: str) -> None:
    assert from_html(html) == text


@given(st.text(max_size=300).filter(lambda text: "{" not in text))
def test_any_html_gives_some_text(html: str) -> None:
    assert from_html(html).endswith("\n")
