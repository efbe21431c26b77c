"""The minijinja environment that every template runs in: strict, fuelled, with bounded filters only."""

import re
from collections.abc import Iterable, Mapping

import minijinja

from clarion_template.source.bounds import MAX_FILTERED_CHARACTERS, TOO_LONG, Bounded
from clarion_template.source.formats import Formats

FUEL = 20_000
"""Instructions of one render; about a millisecond."""
MAX_RANGE = 1_000

Data = Mapping[str, object]

_UNBOUNDED_FILTERS = (
    *("attr", "batch", "chain", "filesizeformat", "format", "groupby", "indent", "lines", "pluralize", "pprint"),
    *("slice", "tojson", "wordwrap", "zip"),
)
"""Filters of minijinja 3.0.5 that no template may use: unbounded, or without use here."""
_BUILTIN_FUNCTIONS = ("debug", "dict", "namespace")


def environment() -> minijinja.Environment:
    """A new environment. HTML is escaped in templates whose name ends with ".html", nothing elsewhere; what stands before the
    first "/" of a name is the locale that values are formatted in."""
    made = minijinja.Environment(
        debug=False,  # A debug error would carry the data.
        fuel=FUEL,
        undefined_behavior="strict",
        pycompat=False,
        keep_trailing_newline=True,
        auto_escape_callback=_escaping,
    )
    for name in _UNBOUNDED_FILTERS:
        made.remove_filter(name)
    for name in _BUILTIN_FUNCTIONS:
        made.remove_global(name)
    made.add_filter("join", _join)
    made.add_filter("replace", _replace)
    made.add_filter("times", _times)
    for name, formatting in Formats().filters().items():
        made.add_filter(name, formatting)
    made.add_global("range", _range)
    return made


def escape(text: str) -> minijinja.Markup:
    """HTML as the engine escapes it."""
    return minijinja.Markup(text.translate(_HTML))


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "/": "&#x2f;"})


def _escaping(name: str) -> str | None:
    return "html" if name.endswith(".html") else None


@minijinja.pass_state
def _join(state: minijinja._lowlevel.State, value: Iterable[object], separator: str = "") -> str:
    """`join`, at most 65,536 characters; in HTML every unmarked piece is escaped."""
    html = state.auto_escape == "html"
    pieces: list[str] = []
    length = 0
    between = _text(separator, html) if separator else ""
    for item in value:
        piece = _text(item, html)
        length += len(piece) + len(between)
        if length > MAX_FILTERED_CHARACTERS:
            raise Bounded(TOO_LONG)
        pieces.append(piece)
    joined = between.join(pieces)
    return minijinja.Markup(joined) if html else joined


def _text(value: object, html: bool) -> str:
    if html and not hasattr(value, "__html__"):
        return escape(str(value))
    return str(value)


def _replace(value: object, old: str, new: str) -> str:
    """`replace`, at most 65,536 characters."""
    text = str(value)
    if not old:
        raise Bounded("replace needs something to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_FILTERED_CHARACTERS:
        raise Bounded(TOO_LONG)
    return re.sub(re.escape(old), lambda _: new, text)


def _times(value: object, factor: object) -> float:
    """The product of two numbers."""
    if not isinstance(value, int | float) or not isinstance(factor, int | float):
        raise Bounded("times multiplies numbers")
    product = value * factor
    if abs(product) > 1e15:
        raise Bounded("the product is too large")
    return int(product) if isinstance(product, float) and product.is_integer() else product


def _range(start: int, stop: int | None = None, step: int = 1) -> list[int]:
    """`range`, at most 1,000 numbers."""
    numbers = range(start) if stop is None else range(start, stop, step)
    if len(numbers) > MAX_RANGE:
        raise Bounded(f"range gives at most {MAX_RANGE} numbers")
    return list(numbers)
