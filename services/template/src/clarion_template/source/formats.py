"""Filters that write numbers, money, dates, lists and plurals as a locale does (Unicode CLDR, through Babel).

Babel is native to none of minijinja's fuel, so each render has its own number of formatted values, and no argument is a free
pattern: widths and the skeletons that CLDR knows.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Literal
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.dates import format_date, format_datetime, format_skeleton, format_time
from babel.lists import format_list
from babel.numbers import format_currency, format_decimal, format_percent
from minijinja import pass_state
from minijinja._lowlevel import State

from clarion_template.source.bounds import MAX_FILTERED_CHARACTERS, TOO_LONG, Bounded

CONTEXT = "clarion.context"
"""The name, which no source can say, under which a render finds its `Formatting`."""
MAX_FORMATTED = 500
"""Values that one render formats; each takes 2-15 µs, the first of a locale 5 ms."""
MAX_LISTED = 1_000
MAX_DIGITS = 12
FALLBACK = "en"
CATEGORIES = frozenset({"zero", "one", "two", "few", "many", "other"})
"""Plural categories of CLDR (Unicode TR 35, Part 3)."""
WIDTHS = frozenset({"short", "medium", "long", "full"})
LIST_STYLES: Mapping[str, Literal["standard", "standard-short", "or", "or-short", "unit", "unit-short"]] = {
    "standard": "standard",
    "standard-short": "standard-short",
    "or": "or",
    "or-short": "or-short",
    "unit": "unit",
    "unit-short": "unit-short",
}

_LARGEST = Decimal(10) ** 15
_CURRENCY = re.compile(r"[A-Z]{3}")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,12})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799


class Formatting:
    """What one render may still format, and the zone its person is in."""

    __slots__ = ("left", "zone")

    def __init__(self, zone: str = "") -> None:
        self.zone = zone
        self.left = MAX_FORMATTED


class Formats:
    """The filters of one environment. A template's name begins with its locale: "de-ch/push.txt"."""

    def __init__(self) -> None:
        self._locales: dict[str, Locale] = {}

    def filters(self) -> Mapping[str, Callable[..., str]]:
        """By name."""
        return {
            "plural": _stateful(self._plural),
            "number": _stateful(self._number),
            "percent": _stateful(self._percent),
            "currency": _stateful(self._currency),
            "date": _stateful(self._date),
            "time": _stateful(self._time),
            "datetime": _stateful(self._datetime),
            "list_join": _stateful(self._list_join),
        }

    def _plural(self, state: State, value: object, **forms: str) -> str:
        """The form for a number's plural category, `#` in it replaced by the number: n|plural(one="# item", other="# items")."""
        locale, _ = self._begin(state)
        if "other" not in forms or not forms.keys() <= CATEGORIES:
            raise ValueError("plural takes zero, one, two, few, many and other, of which other is required")
        number = _decimal(value)
        form = str(forms.get(locale.plural_form(number), forms["other"]))
        if "#" not in form:
            return form
        shown: str = format_decimal(number, locale=locale)
        if len(form) + form.count("#") * len(shown) > MAX_FILTERED_CHARACTERS:
            raise Bounded(TOO_LONG)
        return form.replace("#", shown)

    def _number(self, state: State, value: object, digits: int | None = None) -> str:
        """A number with the locale's separators, rounded half to even to `digits` decimals (default: up to 3)."""
        locale, _ = self._begin(state)
        number = _decimal(value)
        if digits is None:
            return str(format_decimal(number, locale=locale))
        return str(format_decimal(number, format=_pattern(digits), locale=locale))

    def _percent(self, state: State, value: object, digits: int = 0) -> str:
        """A share as per cent: 0.25 is 25 %."""
        locale, _ = self._begin(state)
        number = _decimal(value)
        if not digits:
            return str(format_percent(number, locale=locale))
        written: str = locale.percent_formats[None].pattern
        pattern = re.sub(r"0(?=[^0#,.]*$)", f"0.{'0' * _places(digits)}", written, count=1)
        return str(format_percent(number, format=pattern, locale=locale))

    def _currency(self, state: State, value: object, code: str) -> str:
        """An amount of money; `code` is ISO 4217."""
        locale, _ = self._begin(state)
        if _CURRENCY.fullmatch(code) is None or code not in get_global("all_currencies"):
            raise ValueError("currency takes an ISO 4217 code")
        return str(format_currency(_decimal(value), code, locale=locale))

    def _date(self, state: State, value: object, style: str = "medium", zone: str | None = None) -> str:
        """The day, by a width or a skeleton of CLDR ("yMMMd"). A date without a time is that day in every zone."""
        locale, context = self._begin(state)
        moment = _moment(value)
        if isinstance(moment, datetime):
            moment = moment.astimezone(_zone(zone, context)).replace(tzinfo=UTC)
        if style in WIDTHS:
            return str(format_date(moment, style, locale=locale))
        return _by_skeleton(style, moment, UTC, locale)

    def _time(self, state: State, value: object, style: str = "short", zone: str | None = None) -> str:
        """The wall time in `zone`, else the person's, else UTC."""
        locale, context = self._begin(state)
        moment, wall = _instant(value), _zone(zone, context)
        if style in WIDTHS:
            return str(format_time(moment, style, tzinfo=wall, locale=locale))
        return _by_skeleton(style, moment, wall, locale)

    def _datetime(self, state: State, value: object, style: str = "medium", zone: str | None = None) -> str:
        """Day and wall time in `zone`, else the person's, else UTC."""
        locale, context = self._begin(state)
        moment, wall = _instant(value), _zone(zone, context)
        if style in WIDTHS:
            return str(format_datetime(moment, style, tzinfo=wall, locale=locale))
        return _by_skeleton(style, moment, wall, locale)

    def _list_join(self, state: State, value: Iterable[object], style: str = "standard") -> str:
        """Texts as a list: "a, b and c"."""
        locale, context = self._begin(state)
        if style not in LIST_STYLES or isinstance(value, str | Mapping):
            raise ValueError("list_join takes a list and a style of CLDR")
        texts: list[str] = []
        length = 0
        for item in value:
            texts.append(str(item))
            length += len(texts[-1]) + 16  # more than what stands between two
            if length > MAX_FILTERED_CHARACTERS or len(texts) > MAX_LISTED:
                raise Bounded(TOO_LONG)
        context.left -= len(texts) // 20
        # Each text goes through a format string of CLDR, which would read braces in it.
        marks = [chr(0xE000 + index) for index in range(len(texts))]
        shown: str = format_list(marks, LIST_STYLES[style], locale=locale)
        places = dict(zip(marks, texts, strict=True))
        return "".join([places.get(character, character) for character in shown])

    def _begin(self, state: State) -> tuple[Locale, Formatting]:
        context = state.lookup(CONTEXT)
        if not isinstance(context, Formatting):
            context = Formatting()
        context.left -= 1
        if context.left < 0:
            raise Bounded(f"a render formats at most {MAX_FORMATTED} values")
        tag = state.name.partition("/")[0]
        locale = self._locales.get(tag)
        if locale is None:
            locale = self._locales[tag] = babel_locale(tag)
        return locale, context


def _stateful(method: Callable[..., str]) -> Callable[..., str]:
    """What minijinja calls with its state; a bound method cannot carry that mark itself."""

    @pass_state
    def called(state: State, *arguments: object, **named: object) -> str:
        return method(state, *arguments, **named)

    return called


def babel_locale(tag: str) -> Locale:
    """The CLDR locale of a normalised language tag: itself, else its parents, else English."""
    while tag:
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            tag = tag.rpartition("-")[0]
    return Locale.parse(FALLBACK)


def moment_of(value: object) -> date | datetime | None:
    """A date or an aware moment from ISO 8601 or Unix seconds; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        if not math.isfinite(value) or not 0 <= value <= _LAST_SECOND:
            return None
        return _EPOCH + timedelta(seconds=value)
    if not isinstance(value, str) or not 8 <= len(value) <= 40:
        return None
    try:
        if len(value) <= 10:
            return date.fromisoformat(value)
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _moment(value: object) -> date | datetime:
    moment = moment_of(value)
    if moment is None:
        raise ValueError("neither ISO 8601 nor Unix seconds")
    if not 2 <= moment.year <= 9998:  # a zone's offset must not lead out of the calendar
        raise ValueError("outside the years 2-9998")
    return moment


def _instant(value: object) -> datetime:
    moment = _moment(value)
    if not isinstance(moment, datetime):
        raise ValueError("a date has no time")
    return moment


def _zone(named: str | None, context: Formatting) -> tzinfo:
    if named is None:
        return zone_or_utc(context.zone)
    if _ZONE.fullmatch(named) is None:
        raise ValueError("no such zone")
    try:
        return ZoneInfo(named)
    except (KeyError, OSError):
        raise ValueError("no such zone") from None


def zone_or_utc(name: str) -> tzinfo:
    """A person's zone; UTC where it is unknown."""
    if not name or _ZONE.fullmatch(name) is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return UTC


def _by_skeleton(skeleton: str, moment: date | datetime, zone: tzinfo, locale: Locale) -> str:
    if skeleton not in locale.datetime_skeletons:
        raise ValueError("a style is short, medium, long, full or a skeleton of CLDR")
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return str(format_skeleton(skeleton, moment, tzinfo=zone, fuzzy=False, locale=locale))


def _decimal(value: object) -> Decimal:
    """An exact number. Floats are taken as they print: 0.1 is a tenth."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    if isinstance(value, str) and _NUMBER.fullmatch(value) is None:
        raise ValueError("not a number")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not number.is_finite():
        raise ValueError("not a number")
    if abs(number) > _LARGEST:
        raise Bounded("a number is too large to be formatted")
    return number


def _places(digits: object) -> int:
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= MAX_DIGITS:
        raise ValueError(f"digits are 0-{MAX_DIGITS}")
    return digits


def _pattern(digits: object) -> str:
    places = _places(digits)
    return f"#,##0.{'0' * places}" if places else "#,##0"
