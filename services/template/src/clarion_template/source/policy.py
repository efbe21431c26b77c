"""What a template may say, so that no data makes it slow or large: checked before a version is stored.

minijinja's fuel counts instructions, not the work of one. So whatever grows a text (repetition, unbounded filters,
texts built from texts that were built before) is refused here; what remains costs at most its size times the data's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clarion_template.source.lexer import Kind, Segment, SourceFault, Token, line_of

FILTERS = frozenset(
    {
        *(
            "abs",
            "bool",
            "capitalize",
            "count",
            "d",
            "default",
            "dictsort",
            "e",
            "escape",
            "first",
            "float",
            "int",
            "items",
        ),
        *("join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse"),
        *("round", "safe", "select", "selectattr", "sort", "split", "string", "striptags", "sum", "times", "title"),
        *("trim", "truncate", "unique", "upper", "urlencode"),
        *("currency", "date", "datetime", "list_join", "number", "percent", "plural", "time"),
    }
)
"""Filters a template may use; `join`, `replace` and `times` are ours and bounded (engine.py), so are those of formats.py."""
FORMATS = frozenset({"currency", "date", "datetime", "list_join", "number", "percent", "plural", "time"})
"""Filters that need a locale, and some the person's zone."""
FUNCTIONS = frozenset({"range"})
LOOP_METHODS = frozenset({"cycle", "changed"})
SEPARATOR = "\ufdd0"
"""Stands between the slots of a rendered program. A noncharacter (Unicode 23.7): never part of an interchanged text."""
MAX_PIECES = 4
"""Texts that one assignment may put together."""

MAX_TOKENS = 1_000
"""Words of one construct: nesting them takes the compiler time that grows with their square."""
MAX_JOINED = 64
"""Pieces that one construct may put together: each copies what is there already."""

_TAGS = frozenset({"if", "elif", "else", "endif", "for", "endfor", "set", "with", "endwith"})
_DEFAULTS = frozenset({"default", "d"})
_DEFINED = frozenset({"defined", "undefined"})
_NOTHING = Token("operator", "")


@dataclass(slots=True)
class Usage:
    """How names occur in a source: those that may be absent, and those that are assigned."""

    optional: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)
    tested: set[str] = field(default_factory=set)
    assigned: set[str] = field(default_factory=set)
    formats: bool = False
    """Whether a filter of `FORMATS` is used."""

    def may_be_absent(self, name: str) -> bool:
        """True if every use has a default, or the source asks whether it is defined."""
        return name in self.tested or (name in self.optional and name not in self.bare)


def check(source: str, found: Sequence[Segment]) -> Usage:
    """How the names of a source are used. Raises SourceFault, with its line, for what is not allowed."""
    if SEPARATOR in source:
        raise SourceFault(line_of(source, source.index(SEPARATOR)), "U+FDD0 is reserved")
    usage = Usage()
    for segment in found:
        if segment.kind is Kind.TAG:
            usage.assigned |= _assigned(segment.tokens)
    for segment in found:
        if segment.kind is Kind.TEXT:
            continue
        try:
            _check_tokens(segment.tokens, usage)
            if segment.kind is Kind.TAG:
                _check_tag(segment.tokens, usage.assigned)
        except _Refused as refused:
            raise SourceFault(line_of(source, segment.start), str(refused)) from None
    return usage


class _Refused(Exception):
    """Becomes a SourceFault once the line is known."""


def _at(tokens: Sequence[Token], index: int) -> Token:
    return tokens[index] if 0 <= index < len(tokens) else _NOTHING


def _assigned(tokens: Sequence[Token]) -> set[str]:
    if not tokens or tokens[0].text not in ("set", "with"):
        return set()
    return {
        token.text for index, token in enumerate(tokens) if token.kind == "name" and _at(tokens, index + 1).text == "="
    }


def _check_tag(tokens: Sequence[Token], assigned: set[str]) -> None:
    name = _at(tokens, 0).text
    if name not in _TAGS:
        raise _Refused(f"the tag {name!r} is not allowed")
    if name == "set" and not any(token.text == "=" for token in tokens):
        raise _Refused("a set block is not allowed; use {% set name = value %}")
    if name == "for" and any(token.text == "recursive" for token in tokens):
        raise _Refused("recursive loops are not allowed")
    if name in ("for", "set", "with"):
        _check_binding(tokens, name, assigned)


def _check_binding(tokens: Sequence[Token], tag: str, assigned: set[str]) -> None:
    """A bound value is no larger than a few pieces of data: nothing built of what was built, no collections."""
    keyword = "in" if tag == "for" else "="
    start = next((index for index, token in enumerate(tokens) if token.text == keyword), 0) + 1
    pieces = 0
    calls = 0
    for index in range(start, len(tokens)):
        token, before = tokens[index], tokens[index - 1]
        if token.text in ("~", "+"):
            pieces += 1
        elif token.text == "(":
            if not _is_value(before):
                raise _Refused(f"brackets are not allowed in a {tag}, except of calls")
            calls += 1
        elif token.text == ")":
            calls -= 1
        elif _collects(tokens, index, tag, calls):
            raise _Refused(f"a collection is not allowed in a {tag}")
    if pieces and any(
        token.text in assigned and token.kind == "name" and _at(tokens, start + offset + 1).text != "="
        for offset, token in enumerate(tokens[start:])
    ):
        raise _Refused("a text may not be built from an assigned one")
    if pieces >= MAX_PIECES:
        raise _Refused(f"an assignment may put at most {MAX_PIECES} pieces together")


def _collects(tokens: Sequence[Token], index: int, tag: str, calls: int) -> bool:
    """Whether a token makes a collection: a mapping, a list (not an index), a tuple."""
    token, before = tokens[index], tokens[index - 1]
    if token.text == "[":
        indexes = before.kind == "string" or before.text in ("]", ")") or _is_value(before)
        return not indexes
    if token.text == ",":
        return not calls and (tag != "with" or _at(tokens, index + 2).text != "=")
    return token.text == "{"


def _is_value(token: Token) -> bool:
    return token.kind == "name" and token.text not in _WORDS


def _check_tokens(tokens: Sequence[Token], usage: Usage) -> None:
    if len(tokens) > MAX_TOKENS:
        raise _Refused(f"an expression has more than {MAX_TOKENS} words")
    if sum(token.text == "~" or token.text == "+" for token in tokens) > MAX_JOINED:
        raise _Refused(f"an expression puts more than {MAX_JOINED} pieces together")
    for index, token in enumerate(tokens):
        if token.kind == "operator" and token.text in ("*", "**"):
            raise _Refused("`*` could repeat a text; use the filter `times`")
        if token.kind == "string":
            usage.formats |= token.text[1:-1] in FORMATS  # as in map("date")
        if token.kind != "name":
            continue
        before, after = _at(tokens, index - 1).text, _at(tokens, index + 1).text
        if before == "|":
            if token.text not in FILTERS:
                raise _Refused(f"the filter {token.text!r} is not allowed")
            usage.formats |= token.text in FORMATS
        elif before == "." and index:
            if after == "(" and not (_at(tokens, index - 2).text == "loop" and token.text in LOOP_METHODS):
                raise _Refused(f"the method {token.text!r} is not allowed")
        elif after == "(" and token.text not in _WORDS:
            if before != "is" and before != "not" and token.text not in FUNCTIONS:
                raise _Refused(f"the function {token.text!r} is not allowed")
        elif after != "=":
            _note(tokens, index, usage)


_WORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "elif", "for", "set", "with"})


def _note(tokens: Sequence[Token], index: int, usage: Usage) -> None:
    name = tokens[index].text
    following = [_at(tokens, index + offset).text for offset in (1, 2, 3)]
    if following[0] == "|" and following[1] in _DEFAULTS:
        usage.optional.add(name)
    elif following[0] == "is" and (following[1] in _DEFINED or (following[1] == "not" and following[2] in _DEFINED)):
        usage.tested.add(name)
    else:
        usage.bare.add(name)
