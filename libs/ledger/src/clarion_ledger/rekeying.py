"""Rotation of keys while traffic goes on: data keys are wrapped anew, values are sealed anew, old keys end.

Only that a rotation is not over is noted, with its key; how far it came is seen by the rows themselves: whatever dies, the
next run finds what is left to do. A value is replaced only if it still is what was opened, so a write of a client always
wins. The steps of a rotation are in the audit log, each written in the step's own transaction.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import asyncpg

from clarion_kit import crash
from clarion_kit.sealing import AppSealer, KeyWrapper, Unsealable
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, LedgerUnavailable, Pool, connection
from clarion_ledger.keys import ANNOUNCED, REFRESH, KeyRing
from clarion_ledger.sealed_columns import FLEETING, LASTING, SealedColumn

log = logging.getLogger(__name__)

Progress = Callable[[str, int], None]
"""Told after each chunk: what was done, and how many of it so far."""

CHUNK = 500
SETTLE = timedelta(seconds=60)
"""Longer than a plan or a redrive holds a value that it copies."""
KEPT_UNUSED = timedelta(days=1)
"""How long after its successor became active a key is kept in any case."""
_PASSES = 5
_TRIES = 5
_COUNT_SECONDS = 3_600
_CHUNK_SECONDS = 60

_WRAPPED = """
SELECT app_id, key_id, kek_id, wrapped FROM ledger.data_key
WHERE kek_id <> $1 AND (app_id, key_id) > ($2, $3) ORDER BY app_id, key_id LIMIT $4
"""
_WRAP = """
UPDATE ledger.data_key d SET kek_id = i.kek_id, wrapped = i.wrapped
FROM unnest($1::int4[], $2::int4[], $3::text[], $4::bytea[], $5::bytea[]) AS i (app_id, key_id, kek_id, wrapped, former)
WHERE d.app_id = i.app_id AND d.key_id = i.key_id AND d.wrapped = i.former
"""
_NEWEST = """
SELECT key_id, CASE WHEN active_from > now() THEN extract(epoch FROM active_from - now())::float8 ELSE 0 END AS waits,
       key_id = 1 OR sealed_anew_at IS NOT NULL AS whole
FROM ledger.data_key WHERE app_id = $1 ORDER BY key_id DESC LIMIT 1
"""
_ANNOUNCE = """
INSERT INTO ledger.data_key (app_id, key_id, kek_id, wrapped, active_from) VALUES ($1, $2, $3, $4, now() + $5)
ON CONFLICT DO NOTHING RETURNING key_id
"""
_WHOLE = """
UPDATE ledger.data_key SET sealed_anew_at = now()
WHERE app_id = $1 AND key_id = $2 AND sealed_anew_at IS NULL RETURNING key_id
"""
_SUPERSEDED = """
SELECT d.app_id, d.key_id FROM ledger.data_key d
WHERE d.key_id > 0 AND ($1::int4 IS NULL OR d.app_id = $1) AND EXISTS (
    SELECT FROM ledger.data_key n WHERE n.app_id = d.app_id AND n.key_id > d.key_id AND n.active_from < now() - $2::interval
)
ORDER BY d.app_id, d.key_id
"""


class NotWrapped(Exception):
    """Data keys that no key-encryption key at hand opens; they were left as they are."""

    def __init__(self, keys: Sequence[tuple[int, int]]) -> None:
        named = ", ".join(f"app {app_id} key {key_id}" for app_id, key_id in keys[:10])
        super().__init__(f"{len(keys)} data keys cannot be opened: {named}")
        self.keys = list(keys)


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of one app's values. `left` are those that a stale writer may still have sealed under an old key: run again;
    `unreadable` no key opens, and they were left as they are."""

    app_id: int
    key_id: int
    sealed: int
    left: int
    unreadable: int


@dataclass(slots=True)
class _Pass:
    sealed: int = 0
    unreadable: int = 0
    last: list[object] = field(default_factory=list)


async def rewrap(pool: Pool, wrapper: KeyWrapper, told: Progress, *, chunk: int = CHUNK) -> int:
    """Wrap every data key under the active key-encryption key; gives how many were wrapped. Each one is opened again before it
    is stored. Raises NotWrapped at the end if some cannot be opened, LedgerUnavailable, Unavailable."""
    done, unopened, last = 0, list[tuple[int, int]](), (0, -1)
    while True:
        async with connection(pool) as db:
            rows = await db.fetch(_WRAPPED, wrapper.active, *last, chunk)
        if not rows:
            break
        last = (rows[-1]["app_id"], rows[-1]["key_id"])
        wrapped: list[tuple[int, int, str, bytes, bytes]] = []
        for row in rows:
            app_id, key_id = row["app_id"], row["key_id"]
            try:
                key = await wrapper.unwrap(app_id, key_id, row["kek_id"], row["wrapped"])
            except Unsealable:
                unopened.append((app_id, key_id))
                continue
            anew = await wrapper.wrap(app_id, key_id, key)
            if await wrapper.unwrap(app_id, key_id, anew.kek_id, anew.wrapped) != key:
                raise Unsealable(f"app {app_id} key {key_id} does not open after it was wrapped")
            wrapped.append((app_id, key_id, anew.kek_id, anew.wrapped, row["wrapped"]))
        if wrapped:
            former = Counter(row["kek_id"] for row in rows if (row["app_id"], row["key_id"]) not in unopened)
            async with connection(pool) as db, db.transaction():
                await _wrap(db, wrapped, former)
        done += len(wrapped)
        told("data keys wrapped", done)
        crash.point("keys.wrapped")
    if unopened:
        raise NotWrapped(unopened)
    return done


async def wrapped_under(pool: Pool) -> dict[str, int]:
    """How many data keys are under each key-encryption key. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT kek_id, count(*) AS n FROM ledger.data_key GROUP BY 1 ORDER BY 1")
    return {row["kek_id"]: row["n"] for row in rows}


async def rotate(
    pool: Pool,
    wrapper: KeyWrapper,
    app_id: int,
    told: Progress,
    *,
    announced: timedelta = ANNOUNCED,
    settled: timedelta = 2 * REFRESH,
    chunk: int = CHUNK,
) -> Rotated:
    """A new data key for an app, and what lives long sealed under it. A rotation that was broken off goes on with its key.

    The new key only opens for `announced`; `settled` later nobody seals under an old one. Raises KeyError (no such app),
    LedgerUnavailable, Unavailable, Unsealable.
    """
    key_id, waits, whole = await _newest(pool, app_id)
    if whole:
        key_id, waits, _ = await _announce(pool, wrapper, app_id, key_id, announced)
        crash.point("keys.announced")
    await asyncio.sleep(waits)
    # Read after the wait: by the database's clock the key is active now, and this ring knows it.
    sealer = await _active(KeyRing(pool, wrapper), app_id, key_id)
    sealed = unreadable = 0
    for number in range(_PASSES):
        if number == 1:
            await asyncio.sleep(settled.total_seconds())
        unreadable = 0
        for column in LASTING:
            done = await _seal_again(pool, sealer, app_id, column, told, chunk)
            sealed += done.sealed
            unreadable += done.unreadable
        # The last pass begins after the last stale writer.
        if number and await _left(pool, app_id, key_id) <= unreadable:
            break
    left = await _left(pool, app_id, key_id) - unreadable
    if left <= 0:
        async with connection(pool) as db, db.transaction():
            if await db.fetchval(_WHOLE, app_id, key_id) is not None:
                await audit_log.record(
                    db,
                    "FinishDataKeyRotation",
                    app_id,
                    f"data key {key_id}",
                    after={"data_key": key_id, "values_sealed_anew": sealed, "unreadable": unreadable},
                )
    return Rotated(app_id, key_id, sealed, left, unreadable)


async def uses(pool: Pool, *, lasting_only: bool = False) -> Counter[tuple[int, int]]:
    """Values by app and data key, over every column that holds sealed ones: a scan, for operators. Raises LedgerUnavailable."""
    found: Counter[tuple[int, int]] = Counter()
    statements = [_count(column.table, column.column) for column in LASTING]
    if not lasting_only:
        statements += [_count(column.table, column.column, column.app, column.app_id) for column in FLEETING]
    for statement in statements:
        async with connection(pool) as db, db.transaction(readonly=True):
            await db.execute(f"SET LOCAL statement_timeout = '{_COUNT_SECONDS}s'")
            for row in await db.fetch(statement, timeout=_COUNT_SECONDS + 1):
                found[(row["app_id"], int.from_bytes(row["key"], "big"))] += row["n"]
    return found


async def retire(
    pool: Pool, app_id: int | None = None, *, settled: timedelta = SETTLE, kept: timedelta = KEPT_UNUSED
) -> tuple[list[tuple[int, int]], dict[tuple[int, int], int]]:
    """Delete data keys that a later one replaced and that nothing is sealed under any more; gives those, and how many values
    keep the others. What was sealed under a deleted key is gone for good, so they are counted twice. Raises
    LedgerUnavailable."""
    async with connection(pool) as db:
        replaced = [(row["app_id"], row["key_id"]) for row in await db.fetch(_SUPERSEDED, app_id, kept)]
    if not replaced:
        return [], {}
    lasting = await uses(pool, lasting_only=True)
    if any(not lasting[key] for key in replaced):
        # A plan may hold a copy of what was just replaced, and write it yet.
        await asyncio.sleep(settled.total_seconds())
    counted = await uses(pool)
    gone = [key for key in replaced if not lasting[key] and not counted[key]]
    if not gone:
        return [], {key: max(counted[key], lasting[key]) for key in replaced}
    async with connection(pool) as db, db.transaction():
        await db.execute(
            """DELETE FROM ledger.data_key d USING unnest($1::int4[], $2::int4[]) AS i (app_id, key_id)
               WHERE d.app_id = i.app_id AND d.key_id = i.key_id""",
            [key[0] for key in gone],
            [key[1] for key in gone],
        )
        for app in sorted({key[0] for key in gone}):
            retired = [key[1] for key in gone if key[0] == app]
            await audit_log.record(db, "RetireDataKeys", app, "data keys", before={"data_keys": retired})
    return gone, {key: max(counted[key], lasting[key]) for key in replaced if key not in gone}


async def _wrap(db: Connection, wrapped: Sequence[tuple[int, int, str, bytes, bytes]], former: Counter[str]) -> None:
    """Store what is still as it was read."""
    stored = await db.execute(_WRAP, *(list(column) for column in zip(*wrapped, strict=True)))
    if stored != "UPDATE 0":
        under = Counter(kek_id for _, _, kek_id, _, _ in wrapped)
        await audit_log.record(
            db, "WrapDataKeys", 0, "data keys", before={"data_keys_under": former}, after={"data_keys_under": under}
        )


async def _newest(pool: Pool, app_id: int) -> tuple[int, float, bool]:
    """Its id, seconds until it seals, and whether everything that lives long was sealed under it."""
    async with connection(pool) as db:
        row = await db.fetchrow(_NEWEST, app_id)
    if row is None:
        raise KeyError(app_id)
    return row["key_id"], row["waits"], row["whole"]


async def _announce(
    pool: Pool, wrapper: KeyWrapper, app_id: int, newest: int, announced: timedelta
) -> tuple[int, float, bool]:
    """Of two that announce at once, the second goes on with the first one's key."""
    key_id = newest + 1
    kek_id, wrapped = await wrapper.wrap(app_id, key_id, os.urandom(32))
    async with connection(pool) as db, db.transaction():
        if await db.fetchval(_ANNOUNCE, app_id, key_id, kek_id, wrapped, announced) is not None:
            await audit_log.record(
                db,
                "RotateDataKey",
                app_id,
                f"data key {key_id}",
                before={"data_key": newest},
                after={"data_key": key_id, "under": kek_id},
            )
    return await _newest(pool, app_id)


async def _active(keys: KeyRing, app_id: int, key_id: int) -> AppSealer:
    sealer = await keys.sealer(app_id)
    while sealer.active != key_id:  # our clock ran ahead of the database's
        await asyncio.sleep(0.1)
        sealer = await keys.sealer(app_id)
    return sealer


async def _left(pool: Pool, app_id: int, key_id: int) -> int:
    """Values of an app that live long and are sealed under another key."""
    left = 0
    for column in LASTING:
        async with connection(pool) as db, db.transaction(readonly=True):
            await db.execute(f"SET LOCAL statement_timeout = '{_COUNT_SECONDS}s'")
            left += await db.fetchval(
                f"SELECT count(*) FROM {column.table} WHERE app_id = $1 AND {_KEY.format(column.column)} <> $2",
                app_id,
                key_id.to_bytes(2, "big"),
                timeout=_COUNT_SECONDS + 1,
            )
    return left


async def _seal_again(
    pool: Pool, sealer: AppSealer, app_id: int, column: SealedColumn, told: Progress, chunk: int
) -> _Pass:
    done = _Pass()
    read, write = _read_sql(column, chunk), _write_sql(column)
    key = sealer.active.to_bytes(2, "big")
    while True:
        rows = await _patiently(pool, _reading(column, read, app_id, key, done.last))
        if not rows:
            return done
        done.last = [rows[-1][name] for name in column.key]
        changed: list[tuple[object, ...]] = []
        for row in rows:
            owner = column.owner(row)
            try:
                plaintext = sealer.open(column.place[0], owner, column.place[1], row["sealed_value"])
            except Unsealable:
                done.unreadable += 1
                continue
            anew = sealer.seal(column.place[0], owner, column.place[1], plaintext)
            changed.append((*(row[name] for name in column.key), anew, row["sealed_value"]))
        if changed:
            done.sealed += len(
                await _patiently(pool, (write, *(list(values) for values in zip(*changed, strict=True))))
            )
        told(f"{column.table}.{column.column}", done.sealed)
        crash.point("keys.sealed")


def _reading(column: SealedColumn, read: str, app_id: int, key: bytes, last: list[object]) -> tuple[object, ...]:
    """The first chunk, or the one behind `last`."""
    if not last:
        return (read.replace("{behind}", "true"), app_id, key)
    behind = f"({', '.join(f'v.{name}' for name in column.key)}) > ({', '.join(f'${3 + i}' for i in range(len(last)))})"
    return (read.replace("{behind}", behind), app_id, key, *last)


async def _patiently(pool: Pool, statement: tuple[object, ...]) -> list[asyncpg.Record]:
    """What is busy now (locks, a deadlock, a restart) is tried again some times."""
    sql, *arguments = statement
    tries = 0
    while True:
        try:
            async with connection(pool) as db, db.transaction():
                await db.execute(f"SET LOCAL statement_timeout = '{_CHUNK_SECONDS}s'")
                return list(await db.fetch(str(sql), *arguments, timeout=_CHUNK_SECONDS + 1))
        except LedgerUnavailable as away:
            tries += 1
            if tries == _TRIES:
                raise
            log.warning("tried again: %s", away)
            await asyncio.sleep(0.1 * 2**tries)


# Version, two bytes of the key's id, …: the layout of clarion_kit.sealing.
_KEY = "substring({} FROM 2 FOR 2)"


def _read_sql(column: SealedColumn, chunk: int) -> str:
    shown = ", ".join(f"v.{name}" for name in dict.fromkeys((*column.key, *column.owner_columns)))
    order = ", ".join(f"v.{name}" for name in column.key)
    return (
        f"SELECT {shown}, v.{column.column} AS sealed_value FROM {column.table} v "
        f"WHERE v.app_id = $1 AND {_KEY.format(f'v.{column.column}')} <> $2 AND {{behind}} ORDER BY {order} LIMIT {chunk}"
    )


def _write_sql(column: SealedColumn) -> str:
    """Locks in the order of the key, as every other writer does, then replaces what is still what was opened."""
    names = list(column.key)
    arrays = ", ".join(f"${number}::{type_}[]" for number, type_ in enumerate(column.key.values(), 1))
    anew, former = len(names) + 1, len(names) + 2
    same = " AND ".join(f"v.{name} = i.{name}" for name in names)
    listed = ", ".join(names)
    return (
        f"WITH given AS (SELECT * FROM unnest({arrays}, ${anew}::bytea[], ${former}::bytea[]) AS i ({listed}, anew, former)), "
        f"locked AS (SELECT {', '.join(f'v.{name}' for name in names)} FROM {column.table} v JOIN given i ON {same} "
        f"ORDER BY {', '.join(f'v.{name}' for name in names)} FOR NO KEY UPDATE OF v) "
        f"UPDATE {column.table} v SET {column.column} = i.anew FROM given i JOIN locked l USING ({listed}) "
        f"WHERE {same} AND v.{column.column} = i.former RETURNING 1"
    )


def _count(table: str, column: str, app: str = "", app_id: str = "v.app_id") -> str:
    return (
        f"SELECT {app_id} AS app_id, {_KEY.format(f'v.{column}')} AS key, count(*) AS n FROM {table} v {app} "
        f"WHERE octet_length(v.{column}) > 2 GROUP BY 1, 2"
    )
