"""Statistics from the rollups: a sum over the spans of a window, in one snapshot."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from clarion_kit.errors import FieldFault, invalid_fields
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.db import Connection, Pool, connection, of_app
from clarion_tracker.adapters.rollup_places import FIRST_KEY, WEEKS_PLACE
from clarion_tracker.funnel import MEASURES, Counts, ReasonCount
from clarion_tracker.statistics import (
    MOST_GROUPS,
    MOST_REASONS,
    Counted,
    Dimension,
    Grain,
    Group,
    Key,
    Query,
    spans,
)

ROLE = "clarion_tracker_request"
_PLACE = f"SELECT as_of, weeks_place = {WEEKS_PLACE} AS weeks FROM tracking.rollup_cursor"
_REASON = ("state", "reason")
_FOR_ALL_CHANNELS = "channel = 0"
"""Notifications accepted belong to no channel, provider, country or template: filters by these leave them in."""
_OF_TEMPLATE = {
    Dimension.TEMPLATE.value: "coalesce(k.name, '')",
    Dimension.TEMPLATE_VERSION.value: "coalesce(k.version, c.template_version)",
}
"""What a rollup's `template_version` stands for."""


class StatsTable:
    """`ports.Statistics`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(self, query: Query) -> Counted:
        """Groups in the order of their keys. Raises Unavailable, DomainError INVALID_FIELD where they are too many."""
        keys = [*(["start"] if query.bucket else []), *(dimension.value for dimension in query.group_by)]
        async with self._reading(query) as db:
            place = await db.fetchrow(_PLACE)
            if place is None:
                raise RuntimeError("tracking.rollup_cursor is empty")
            # Weeks are of use only while they follow the days: a roller of an earlier version leaves them behind.
            weeks = place["weeks"] and query.grain is Grain.BOTH
            totals, reasons = _Statement(weeks), _Statement(weeks)
            rows = await db.fetch(totals.text(query, "rollup", keys, MEASURES, MOST_GROUPS), *totals.arguments)
            _bound(rows, MOST_GROUPS)
            by_reason = reasons.text(query, "reason", [*keys, *_REASON], ("count",), MOST_REASONS)
            why = await db.fetch(by_reason, *reasons.arguments)
            _bound(why, MOST_REASONS)
        found: dict[Key, list[ReasonCount]] = {}
        for row in why:
            counted = ReasonCount(DeliveryState(row["state"]), Reason(row["reason"]), row["count"])
            found.setdefault(_key(row, keys), []).append(counted)
        return Counted(place["as_of"], tuple(_group(row, keys, found) for row in rows))

    @asynccontextmanager
    async def _reading(self, query: Query) -> AsyncIterator[Connection]:
        """One snapshot for all statements; the request of one app sees no other's rows."""
        if query.apps is not None and len(query.apps) == 1:
            async with of_app(self._pool, query.apps[0], ROLE, isolation="repeatable_read", readonly=True) as db:
                yield db
        else:
            async with (
                connection(self._pool) as db,
                db.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield db


@dataclass(slots=True)
class _Statement:
    """A statement in the making, and its arguments. Only columns of closed lists become text."""

    weeks: bool
    arguments: list[object] = field(default_factory=list)

    def text(self, query: Query, table: str, keys: Sequence[str], sums: Sequence[str], most: int) -> str:
        parts = [
            f"SELECT *, at AS start FROM tracking.{table}_{span.rollup.value} WHERE {self._where(query)}"
            f" AND at >= {self._put(span.since)} AND at < {self._put(span.until)}"
            for span in spans(query.window, query.bucket, weeks=self.weeks)
        ]
        read = " UNION ALL ".join(parts)
        expressions: Mapping[str, str] = {}
        joined = ""
        if not _OF_TEMPLATE.keys().isdisjoint(keys):
            # Keys of templates are looked up once for each sum, not for each row.
            kept = dict.fromkeys(Dimension.TEMPLATE_VERSION.value if key in _OF_TEMPLATE else key for key in keys)
            read, expressions, joined = _summed(list(kept), sums, read), _OF_TEMPLATE, _NAMED
        ordered = f"ORDER BY {_places(keys)} " if keys else ""
        return f"{_summed(keys, sums, read, expressions, joined)} {ordered}LIMIT {most + 1}"

    def _where(self, query: Query) -> str:
        conditions = [
            self._in("app_id", query.apps, "int4"),
            f"grain = {int(query.grain)}",
            self._in("category_id", query.categories, "int4"),
            self._of_templates(query),
        ]
        for column, values, kind in (
            ("channel", query.channels, "int2"),
            ("lane_id", query.lanes, "int4"),
            ("country", query.countries, "text"),
        ):
            if values is not None:
                conditions.append(f"({self._in(column, values, kind)} OR {_FOR_ALL_CHANNELS})")
        return " AND ".join(filter(None, conditions))

    def _of_templates(self, query: Query) -> str:
        if query.templates is None and query.template_versions is None:
            return ""
        versions = query.template_versions
        named = [
            self._in("k.app_id", query.apps, "int4"),
            self._in("k.name", query.templates, "text"),
            self._in("k.version", versions, "int4"),
        ]
        known = f"SELECT k.template_key FROM ledger.template_key k WHERE {' AND '.join(filter(None, named))}"
        conditions = [f"template_version = ANY (ARRAY({known}))", _FOR_ALL_CHANNELS]
        if query.templates is None or "" in query.templates:
            bare = [f"template_version < {FIRST_KEY}", self._in("template_version", versions, "int4")]
            conditions.append(" AND ".join(filter(None, bare)))
        return f"({' OR '.join(conditions)})"

    def _in(self, column: str, values: Iterable[object] | None, kind: str) -> str:
        return "" if values is None else f"{column} = ANY ({self._put(list(values))}::{kind}[])"

    def _put(self, value: object) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"


_NAMED = " LEFT JOIN ledger.template_key k ON k.template_key = c.template_version"


def _summed(
    keys: Sequence[str], sums: Sequence[str], source: str, expressions: Mapping[str, str] = {}, joined: str = ""
) -> str:
    """Sums of a source's rows (as `c`) by keys; a key is a column of it unless there is an expression."""
    columns = [f"{expressions.get(key, f'c.{key}')} AS {key}" for key in keys]
    columns += [f"sum(c.{name})::int8 AS {name}" for name in sums]
    grouped = f" GROUP BY {_places(keys)}" if keys else ""
    return f"SELECT {', '.join(columns)} FROM ({source}) AS c{joined}{grouped}"


def _places(keys: Sequence[str]) -> str:
    return ", ".join(str(place) for place in range(1, len(keys) + 1))


def _bound(rows: list[asyncpg.Record], most: int) -> None:
    if len(rows) > most:
        raise invalid_fields([FieldFault("group_by", f"gives more than {most:,} rows: group by less, or filter")])


def _key(row: asyncpg.Record, keys: list[str]) -> Key:
    return Key(**{name: row[name] for name in keys})


def _group(row: asyncpg.Record, keys: list[str], reasons: dict[Key, list[ReasonCount]]) -> Group:
    key = _key(row, keys)
    # Without keys there is one row, whose sums over nothing are null.
    return Group(key, Counts(*(row[name] or 0 for name in MEASURES)), tuple(reasons.get(key, ())))
