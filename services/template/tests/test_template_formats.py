import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_template.source import engine
from clarion_template.source.formats import FALLBACK, MAX_FORMATTED, babel_locale, moment_of, zone_or_utc
from clarion_template.source.sheet import CompileFault, Failure, RenderFault, Sheet, Text

NBSP = "\xa0"
NARROW = "\u202f"


def rendered(source: str, locale: str = "en", zone: str = "", *, html: bool = False, **data: object) -> str:
    sheet = Sheet(engine.environment(), f"{locale}/sms", [Text("text", source, html)])
    return sheet.text("text", sheet.slots(data, zone))


@pytest.mark.parametrize(
    ("locale", "count", "printed"),
    [
        ("en", 1, "1 item"),
        ("en", 2000, "2,000 items"),
        ("ru", 2, "2 few"),
        ("ru", 5, "5 many"),
        ("ar", 0, "0 none"),
        ("pl", 22, "22 few"),
        ("de-at", 1, "1 item"),
        ("zz-unknown", 1, "1 item"),
    ],
)
def test_a_plural_takes_the_category_of_the_locale(locale: str, count: int, printed: str) -> None:
    source = '{{ n|plural(zero="# none", one="# item", few="# few", many="# many", other="# items") }}'

    assert rendered(source, locale, n=count) == printed


@pytest.mark.parametrize(
    ("source", "locale", "value", "printed"),
    [
        ("{{ v|number }}", "de", 1234.5, "1.234,5"),
        ("{{ v|number(2) }}", "fr", 1234.5, f"1{NARROW}234,50"),
        ("{{ v|number(0) }}", "en", 2.5, "2"),
        ("{{ v|number }}", "hi", 1234567, "12,34,567"),
        ("{{ v|number }}", "en", "0.1", "0.1"),
        ("{{ v|percent }}", "de", 0.25, f"25{NBSP}%"),
        ("{{ v|percent(1) }}", "en", 0.255, "25.5%"),
        ("{{ v|percent(1) }}", "de", 0.255, f"25,5{NBSP}%"),
        ('{{ v|currency("EUR") }}', "de", 1234.5, f"1.234,50{NBSP}€"),
        ('{{ v|currency("JPY") }}', "en", 1234.5, "¥1,234"),
        ('{{ v|currency("CHF") }}', "de-ch", 1234.5, f"CHF{NBSP}1\u2019234.50"),
    ],
)
def test_numbers_are_written_as_the_locale_does(source: str, locale: str, value: object, printed: str) -> None:
    assert rendered(source, locale, v=value) == printed


@pytest.mark.parametrize(
    ("source", "locale", "zone", "printed"),
    [
        ("{{ v|date }}", "en", "", "Dec 31, 2026"),
        ("{{ v|date('long') }}", "de", "", "31. Dezember 2026"),
        ("{{ v|date('long') }}", "de", "Asia/Tokyo", "1. Januar 2027"),
        ("{{ v|date('yMMMd') }}", "de", "", "31. Dez. 2026"),
        ("{{ v|time }}", "de", "Europe/Zurich", "00:30"),
        ("{{ v|time(zone='UTC') }}", "de", "Europe/Zurich", "23:30"),
        ("{{ v|datetime('short') }}", "en-gb", "America/New_York", "31/12/2026, 18:30"),
        ("{{ v|time }}", "de", "No/Where", "23:30"),
    ],
)
def test_moments_are_written_in_the_persons_zone(source: str, locale: str, zone: str, printed: str) -> None:
    assert rendered(source, locale, zone, v="2026-12-31T23:30:00Z") == printed


def test_a_date_alone_is_that_day_in_every_zone() -> None:
    assert rendered("{{ v|date('short') }}", "de", "Pacific/Auckland", v="2026-12-31") == "31.12.26"


def test_unix_seconds_are_a_moment() -> None:
    assert rendered("{{ v|datetime('short') }}", "de", v=0) == "01.01.70, 00:00"


@pytest.mark.parametrize(
    ("locale", "style", "printed"), [("en", "standard", "a, {0} and c"), ("de", "or", "a, {0} oder c")]
)
def test_a_list_is_joined_as_the_locale_does(locale: str, style: str, printed: str) -> None:
    found = rendered(f"{{{{ v|list_join('{style}') }}}}", locale, v=["a", "{0}", "c"])

    assert found.replace(", and", " and") == printed


@pytest.mark.parametrize(
    "source",
    [
        "{{ v|plural(one='x') }}",
        "{{ v|plural(other='x', lots='y') }}",
        "{{ v|number(99) }}",
        "{{ v|number('x') }}",
        "{{ v|currency('BUCKS') }}",
        "{{ v|currency('ZZZ') }}",
        "{{ v|currency }}",
        "{{ v|date('yyyyyyyyyyyy') }}",
        "{{ v|time(zone='../../etc/passwd') }}",
        "{{ v|time(zone='Europe') }}",
        "{{ v|time(zone='Mars/Base') }}",
        "{{ v|list_join }}",
        "{{ t|number }}",
        "{{ t|date }}",
        "{{ d|time }}",
        "{{ b|number }}",
        "{{ t|list_join }}",
        "{{ l|list_join('nope') }}",
    ],
)
def test_arguments_that_no_filter_takes_fail_the_render(source: str) -> None:
    with pytest.raises(RenderFault) as refused:
        rendered(source, v=3, t="text", d="2026-01-01", b=True, l=["a"])

    assert refused.value.failure is Failure.INVALID


@pytest.mark.parametrize(
    "source",
    [
        f"{{% for i in range({MAX_FORMATTED + 1}) %}}{{{{ i|number }}}}{{% endfor %}}",
        f"{{{{ range({MAX_FORMATTED + 1})|map('number')|join }}}}",
        f'{{{{ range({MAX_FORMATTED + 1})|map("number")|join }}}}',
        "{{ x|list_join }}",
        "{{ 2|plural(other=h) }}",
        "{{ big|number }}",
    ],
)
def test_what_a_render_formats_is_bounded(source: str) -> None:
    with pytest.raises(RenderFault) as refused:
        rendered(source, x=["a" * 16_000] * 5, h="#" * 70_000, big=1e300)

    assert refused.value.failure is Failure.TOO_LARGE


def test_formats_are_escaped_in_html() -> None:
    source = "{{ n|plural(other='# <b>') }} {{ v|list_join }}"

    assert rendered(source, html=True, n=2, v=["<", "&"]) == "2 &lt;b&gt; &lt; and &amp;"


def test_all_texts_of_a_channel_share_one_budget() -> None:
    source = f"{{% for i in range({MAX_FORMATTED // 2 + 1}) %}}{{{{ i|number }}}}{{% endfor %}}"
    sheet = Sheet(engine.environment(), "en/mail", [Text("text", source), Text("html", source, html=True)])

    with pytest.raises(RenderFault):
        sheet.slots({})


def test_the_budget_is_no_variable_of_the_template() -> None:
    with pytest.raises(CompileFault):
        rendered("{{ clarion.context() }}")
    with pytest.raises(RenderFault):
        rendered("{{ clarion.context }}{{ 1|number }}", clarion={})


@pytest.mark.parametrize("tag", ["de-ch-x-y", "zh-hant-hk", "xx", "", "not a tag", "en-us-posix"])
def test_every_tag_has_a_locale(tag: str) -> None:
    assert babel_locale(tag).language in (tag.partition("-")[0], FALLBACK)


@given(st.one_of(st.text(max_size=60), st.floats(), st.integers(), st.booleans(), st.none()))
def test_any_value_is_a_moment_or_refused(value: object) -> None:
    moment = moment_of(value)
    assert moment is None or moment.year >= 1


@given(st.text(max_size=80))
def test_any_zone_name_gives_a_zone(name: str) -> None:
    assert zone_or_utc(name) is not None


@given(
    st.sampled_from(
        ["number", "percent", "date", "time", "datetime", "list_join", "plural(other='#')", "currency('EUR')"]
    ),
    st.sampled_from(["en", "ar-eg", "de-ch", "hi", "zh-hant"]),
    st.one_of(
        st.text(max_size=40),
        st.floats(),
        st.integers(-(10**20), 10**20),
        st.booleans(),
        st.lists(st.text(max_size=5), max_size=5),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    ),
)
def test_a_filter_formats_any_value_or_refuses_it(name: str, locale: str, value: object) -> None:
    try:
        printed = rendered(f"{{{{ v|{name} }}}}", locale, "Asia/Kathmandu", v=value)
    except RenderFault:
        return

    assert len(printed) < 500


def test_minijinja_gives_the_state_to_bound_filters() -> None:
    environment = engine.environment()

    assert environment.render_str("{{ 1.5|number }}", "de/x.txt") == "1,5"
