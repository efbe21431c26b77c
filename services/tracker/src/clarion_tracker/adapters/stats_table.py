"""Statistics from the rollups: a sum over the spans of a window, in one snapshot."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

from clarion_kit.errors import FieldFault, invalid_fields
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.db import Connection, Pool, connection, of_app
from clarion_tracker.funnel import MEASURES, Counts, ReasonCount
from clarion_tracker.statistics import (
    MOST_GROUPS,
    MOST_REASONS,
    Counted,
    Group,
    Key,
    Query,
    spans,
)

ROLE = "clarion_tracker_request"
_AS_OF = "SELECT as_of FROM tracking.rollup_cursor"
_SUMS = ", ".join(f"sum({name})::int8 AS {name}" for name in MEASURES)
_REASON_SUMS = "state, reason, sum(count)::int8 AS count"
_FOR_ALL_CHANNELS = "channel = 0"
"""Notifications accepted belong to no channel, provider, country or template: filters by these leave them in."""


class StatsTable:
    """`ports.Statistics`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(self, query: Query) -> Counted:
        """Groups in the order of their keys. Raises Unavailable, DomainError INVALID_FIELD where they are too many."""
        keys = [*(["start"] if query.bucket else []), *(dimension.value for dimension in query.group_by)]
        totals, reasons = _Statement(), _Statement()
        by_key = totals.text(query, "rollup", _SUMS, keys, MOST_GROUPS)
        by_reason = reasons.text(query, "reason", _REASON_SUMS, [*keys, "state", "reason"], MOST_REASONS)
        async with self._reading(query) as db:
            as_of = await db.fetchval(_AS_OF)
            rows = await db.fetch(by_key, *totals.arguments)
            _bound(rows, MOST_GROUPS)
            why = await db.fetch(by_reason, *reasons.arguments)
            _bound(why, MOST_REASONS)
        found: dict[Key, list[ReasonCount]] = {}
        for row in why:
            counted = ReasonCount(DeliveryState(row["state"]), Reason(row["reason"]), row["count"])
            found.setdefault(_key(row, keys), []).append(counted)
        return Counted(as_of, tuple(_group(row, keys, found) for row in rows))

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

    arguments: list[object] = field(default_factory=list)

    def text(self, query: Query, table: str, sums: str, keys: list[str], most: int) -> str:
        parts = [
            f"SELECT *, at AS start FROM tracking.{table}_{span.rollup.value} WHERE {self._where(query)}"
            f" AND at >= {self._put(span.since)} AND at < {self._put(span.until)}"
            for span in spans(query.window, query.bucket)
        ]
        grouped = f"GROUP BY {', '.join(keys)} ORDER BY {', '.join(keys)}" if keys else ""
        named = "".join(f"{key}, " for key in keys if key not in ("state", "reason"))
        return f"SELECT {named}{sums} FROM ({' UNION ALL '.join(parts)}) AS c {grouped} LIMIT {most + 1}"

    def _where(self, query: Query) -> str:
        conditions = [
            self._in("app_id", query.apps, "int4"),
            f"grain = {int(query.grain)}",
            self._in("category_id", query.categories, "int4"),
        ]
        for column, values, kind in (
            ("template_version", query.template_versions, "int4"),
            ("channel", query.channels, "int2"),
            ("lane_id", query.lanes, "int4"),
            ("country", query.countries, "text"),
        ):
            if values is not None:
                conditions.append(f"({self._in(column, values, kind)} OR {_FOR_ALL_CHANNELS})")
        return " AND ".join(filter(None, conditions))

    def _in(self, column: str, values: Iterable[object] | None, kind: str) -> str:
        return "" if values is None else f"{column} = ANY ({self._put(list(values))}::{kind}[])"

    def _put(self, value: object) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"


def _bound(rows: list[asyncpg.Record], most: int) -> None:
    if len(rows) > most:
        raise invalid_fields([FieldFault("group_by", f"gives more than {most:,} rows: group by less, or filter")])


def _key(row: asyncpg.Record, keys: list[str]) -> Key:
    return Key(**{name: row[name] for name in keys})


def _group(row: asyncpg.Record, keys: list[str], reasons: dict[Key, list[ReasonCount]]) -> Group:
    key = _key(row, keys)
    # Without keys there is one row, whose sums over nothing are null.
    return Group(key, Counts(*(row[name] or 0 for name in MEASURES)), tuple(reasons.get(key, ())))
