"""Suppression lists in Postgres."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg

from clarion_kit.sealing import AppSealer
from clarion_kit.vocabulary import Channel
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, Pool, connection, of_app
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.references import REQUEST_ROLE
from clarion_preference.adapters.sealed_address import address_id, app_sealer, blind_index, seal, unseal
from clarion_preference.addresses import Address
from clarion_preference.suppressions import (
    BOUNCE_SPAN,
    BOUNCES_KEPT,
    SOFT_BOUNCES,
    Decided,
    Decision,
    Entry,
    Place,
    Reach,
    SuppressionReason,
    SuppressionSource,
)

_TABLE = "suppression"
_LONGEST_WRITE = timedelta(seconds=10)
"""Longer than any statement may take (clarion_ledger.db)."""

_DECIDE = "SELECT known, changed FROM preference.decide($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
# A registration that was under way saw no entry, and the entry no owner: whoever committed last is seen here.
_GROW_LATE_OWNERS = "SELECT preference.grow_owners($1, now() - $2::interval)"
_PAGE = """
SELECT since, address_id, channel, reason, source, sealed, note FROM preference.suppression
WHERE app_id = $1 AND listed AND ($3::timestamptz IS NULL OR (since, address_id, reason) < ($3, $4, $5))
  AND ($6::int2 IS NULL OR channel = $6) AND ($7::int2 IS NULL OR reason = $7)
ORDER BY since DESC, address_id DESC, reason DESC LIMIT $2
"""
_PRUNE = """
DELETE FROM preference.soft_bounce WHERE (address_id, delivery_id) IN (
    SELECT address_id, delivery_id FROM preference.soft_bounce WHERE bounced_at < now() - $1::interval
    ORDER BY address_id, delivery_id LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_PRUNED_AT_ONCE = 1_000


class PostgresSuppressionList:
    """`ports.SuppressionList` on the schema `preference`."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def put(self, decisions: Sequence[Decision]) -> Decided:
        return await self._decide(decisions, listing=True)

    async def lift(self, decisions: Sequence[Decision]) -> Decided:
        return await self._decide(decisions, listing=False)

    async def unsuppress(self, app_id: int, address: Address) -> None:
        id_ = address_id(app_id, blind_index(await app_sealer(self._keys, app_id), address))
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            if await db.fetchval("SELECT preference.unsuppress($1, $2)", app_id, id_):
                await _grow_late_owners(db, [id_])
                await audit_log.record(db, "Unsuppress", app_id, f"address {id_}")

    async def page(
        self, app_id: int, limit: int, after: Place | None, channel: Channel | None, reason: SuppressionReason | None
    ) -> list[Entry]:
        sealer = await app_sealer(self._keys, app_id)
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            rows = await db.fetch(_PAGE, app_id, limit, *(after or (None, None, None)), channel, reason)
        return [entry_of(sealer, row) for row in rows]

    async def report_reach(self, reached: Sequence[Reach]) -> int:
        async with connection(self._pool) as db:
            suppressed: int = await db.fetchval(
                "SELECT preference.report_reach($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                [one.app_id for one in reached],
                [one.address_id for one in reached],
                [one.delivery_id for one in reached],
                [one.at for one in reached],
                [one.arrived for one in reached],
                SOFT_BOUNCES,
                BOUNCE_SPAN,
                BOUNCES_KEPT,
                SuppressionReason.SOFT_BOUNCES,
                SuppressionSource.PROVIDER,
            )
        return suppressed

    async def prune(self) -> None:
        """Forget bounces that no longer count, a batch of them. Raises LedgerUnavailable."""
        async with connection(self._pool) as db:
            await db.execute(_PRUNE, BOUNCES_KEPT, _PRUNED_AT_ONCE)

    async def _decide(self, decisions: Sequence[Decision], *, listing: bool) -> Decided:
        rows = [await self._row(decision) for decision in decisions]
        async with connection(self._pool) as db:
            [(known, changed)] = await db.fetch(
                _DECIDE,
                listing,
                [one.app_id for one in decisions],
                [row.address_id for row in rows],
                [one.reason for one in decisions],
                [one.source for one in decisions],
                [one.at for one in decisions],
                [row.channel for row in rows],
                [row.blind_index for row in rows],
                [row.sealed for row in rows],
                [row.note for row in rows],
            )
            if changed:
                await _grow_late_owners(db, changed)
        ours = set(known)
        return Decided(len(changed), tuple(place for place, row in enumerate(rows) if row.address_id not in ours))

    async def _row(self, decision: Decision) -> "_Row":
        if isinstance(decision.key, UUID):
            return _Row(decision.key)
        sealer = await app_sealer(self._keys, decision.app_id)
        stored = seal(sealer, decision.app_id, decision.key)
        note = sealer.seal(_TABLE, stored.address_id.bytes, "note", decision.note.encode()) if decision.note else None
        return _Row(stored.address_id, stored.channel, stored.blind_index, stored.sealed, note)


class _Row(NamedTuple):
    """A decision's address as stored; of one given by its id the rest is found there."""

    address_id: UUID
    channel: int | None = None
    blind_index: bytes | None = None
    sealed: bytes | None = None
    note: bytes | None = None


async def _grow_late_owners(db: Connection, ids: Sequence[UUID]) -> None:
    await db.execute(_GROW_LATE_OWNERS, ids, _LONGEST_WRITE)


def entry_of(sealer: AppSealer, row: asyncpg.Record) -> Entry:
    """A row of the list, opened. Raises Unsealable."""
    id_: UUID = row["address_id"]
    return Entry(
        place=Place(row["since"], id_, row["reason"]),
        channel=Channel(row["channel"]),
        reason=SuppressionReason(row["reason"]),
        source=SuppressionSource(row["source"]),
        address=None if row["sealed"] is None else unseal(sealer, id_, row["sealed"]),
        note="" if row["note"] is None else sealer.open(_TABLE, id_.bytes, "note", row["note"]).decode(),
    )
