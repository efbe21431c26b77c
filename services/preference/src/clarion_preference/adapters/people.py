"""What is done to a person as a whole in Postgres: merged, exported, erased."""

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit.errors import FieldFault, invalid_fields
from clarion_kit.sealing import AppSealer
from clarion_ledger import audit_log
from clarion_ledger.db import LedgerUnavailable, Pool, connection, of_app
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.directory import PROFILE, profile_of
from clarion_preference.adapters.documents import from_document, to_document
from clarion_preference.adapters.references import REQUEST_ROLE, not_found, reference
from clarion_preference.adapters.sealed_address import app_sealer
from clarion_preference.adapters.sealed_attributes import seal_attributes, unseal_attributes
from clarion_preference.adapters.suppression_list import entry_of
from clarion_preference.adapters.wish_book import changes_of
from clarion_preference.attributes import Attribute, joined
from clarion_preference.merging import stricter
from clarion_preference.recipients import DeliveryTo, Everything

MAX_LISTED = 1_000
"""Topics, changes of wishes and deliveries that an export lists."""
_AT_ONCE = 500
"""Deliveries taken from the ledger in one statement."""
_MAX_ROUNDS = 20
_DUE_AT_ONCE = 20
_LATE_PLANS = timedelta(minutes=2)
"""A plan that looked before an erasure has committed by then, or never will."""
_REMEMBERED = timedelta(days=60)
"""Longer than anything is in flight: until then an erased recipient's row keeps its revision from starting anew."""

_BOTH = "SELECT * FROM preference.recipient WHERE app_id = $1 AND recipient_ref = ANY ($2) AND erased_at IS NULL"
_MERGE = "SELECT preference.merge($1, $2, $3, $4, $5::jsonb, $6, $7)"
_FORMER = "SELECT recipient_id FROM preference.recipient WHERE app_id = $1 AND merged_into = $2 ORDER BY recipient_id"
_TOPICS = "SELECT topic FROM preference.topic_member WHERE app_id = $1 AND recipient_ref = $2 ORDER BY topic LIMIT $3"
_SUPPRESSED = """
SELECT s.since, s.address_id, s.channel, s.reason, s.source, s.sealed, s.note FROM preference.suppression s
JOIN preference.address a ON a.address_id = s.address_id
WHERE a.app_id = $1 AND a.recipient_ref = $2 AND s.listed ORDER BY s.since DESC, s.address_id DESC, s.reason DESC
"""
_DELIVERIES = """
SELECT d.id, d.notification_id, d.channel, d.state, d.reason, d.receipt, d.planned_at FROM ledger.delivery d
WHERE d.app_id = $1 AND d.recipient_ref = ANY (
    SELECT r.recipient_ref FROM preference.recipient r
    WHERE r.app_id = $1 AND (r.recipient_ref = $2 OR r.merged_into = $2)
) ORDER BY d.id DESC LIMIT $3
"""
_ERASE = "SELECT preference.erase($1, $2)"
_ERASED_AT = "SELECT erased_at FROM preference.erasure WHERE app_id = $1 AND recipient_ref = $2"
_ERASE_LEDGER = "SELECT ledger.erase_recipient($1, $2, $3, $4)"
_CLAIM_ERASURES = """
UPDATE preference.erasure e SET next_at = now() + interval '15 seconds'
FROM (
    SELECT app_id, recipient_ref FROM preference.erasure WHERE next_at <= now()
    ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED
) due
WHERE e.app_id = due.app_id AND e.recipient_ref = due.recipient_ref
RETURNING e.app_id, e.recipient_ref, e.erased_at, now() - e.erased_at > $2::interval AS late
"""
_FINISH = """
DELETE FROM preference.erasure e WHERE e.app_id = $1 AND e.recipient_ref = $2 AND e.erased_at = $3 AND NOT EXISTS (
    SELECT FROM ledger.delivery_work w WHERE w.recipient_ref = $2 AND w.app_id = $1 AND w.planned_at <= $3
)
"""
_FORGET = """
DELETE FROM preference.recipient r USING (
    SELECT app_id, recipient_ref FROM preference.recipient
    WHERE erased_at < now() - $1::interval ORDER BY app_id, recipient_ref LIMIT 1000 FOR UPDATE SKIP LOCKED
) old
WHERE r.app_id = old.app_id AND r.recipient_ref = old.recipient_ref
"""


class PostgresPeople:
    """`ports.People` on the schema `preference`, and on the ledger as far as one person's deliveries go."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def merge(self, app_id: int, into_id: str, from_id: str, who: str) -> int:
        sealer = await app_sealer(self._keys, app_id)
        into, from_ = reference(app_id, into_id), reference(app_id, from_id)
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            await db.execute("SELECT preference.change_members($1)", app_id)
            rows = {row["recipient_ref"]: row for row in await db.fetch(_BOTH, app_id, [into, from_])}
            for ref, id_ in ((into, into_id), (from_, from_id)):
                if ref not in rows:
                    raise not_found(id_)
            stays, goes = rows[into], rows[from_]
            if stays["merged_into"] is not None:
                raise invalid_fields([FieldFault("into_recipient_id", "was merged into another recipient itself")])
            if goes["merged_into"] == into:
                return int(stays["revision"])
            if goes["merged_into"] is not None:
                raise invalid_fields([FieldFault("from_recipient_id", "was merged into another recipient before")])
            attributes = joined(_attributes(sealer, stays), _attributes(sealer, goes))
            wishes = stricter(from_document(stays["wishes"]), from_document(goes["wishes"]))
            filterable, sealed = seal_attributes(sealer, into, attributes)
            revision: int = await db.fetchval(_MERGE, app_id, into, from_, to_document(wishes), filterable, sealed, who)
        return revision

    async def everything(self, app_id: int, recipient_id: str) -> Everything:
        sealer = await app_sealer(self._keys, app_id)
        async with of_app(self._pool, app_id, REQUEST_ROLE, isolation="repeatable_read", readonly=True) as db:
            row = await db.fetchrow(PROFILE, app_id, reference(app_id, recipient_id))
            if row is None:
                raise not_found(recipient_id)
            ref: UUID = row["recipient_ref"]
            return Everything(
                profile=await profile_of(db, sealer, row, opened=True),
                created_at=row["created_at"],
                former_ids=tuple(former["recipient_id"] for former in await db.fetch(_FORMER, app_id, ref)),
                topics=tuple(topic["topic"] for topic in await db.fetch(_TOPICS, app_id, ref, MAX_LISTED)),
                wish_changes=tuple(await changes_of(db, app_id, ref, MAX_LISTED)),
                suppressed=tuple(entry_of(sealer, entry) for entry in await db.fetch(_SUPPRESSED, app_id, ref)),
                deliveries=tuple(DeliveryTo(*one) for one in await db.fetch(_DELIVERIES, app_id, ref, MAX_LISTED)),
            )

    async def erase(self, app_id: int, recipient_id: str) -> None:
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            person = reference(app_id, recipient_id)
            persons: list[UUID] | None = await db.fetchval(_ERASE, app_id, person)
            if persons is not None:
                await audit_log.record(db, "EraseRecipient", app_id, f"recipient {person}")
        if persons is None:
            raise not_found(recipient_id)
        # The erasure is noted; what does not succeed here is done by `finish_erasures`.
        with suppress(LedgerUnavailable):
            for ref in persons:
                async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
                    erased_at: datetime | None = await db.fetchval(_ERASED_AT, app_id, ref)
                if erased_at is not None:
                    await self._take_from_ledger(app_id, ref, erased_at)

    async def finish_erasures(self) -> None:
        """Go on with erasures that are due, whoever began them. Raises LedgerUnavailable."""
        async with connection(self._pool) as db:
            due = await db.fetch(_CLAIM_ERASURES, _DUE_AT_ONCE, _LATE_PLANS)
        for app_id, ref, erased_at, late in due:
            nothing_left = await self._take_from_ledger(app_id, ref, erased_at)
            if late and nothing_left:
                async with connection(self._pool) as db:
                    await db.execute(_FINISH, app_id, ref, erased_at)

    async def forget_erased(self) -> None:
        """Delete the empty rows of those who were erased long ago, a batch of them. Raises LedgerUnavailable."""
        async with connection(self._pool) as db:
            await db.execute(_FORGET, _REMEMBERED)

    async def _take_from_ledger(self, app_id: int, ref: UUID, erased_at: datetime) -> bool:
        """Whether nothing more was found, within bounds."""
        for _ in range(_MAX_ROUNDS):
            async with connection(self._pool) as db:
                if not await db.fetchval(_ERASE_LEDGER, app_id, ref, erased_at, _AT_ONCE):
                    return True
        return False


def _attributes(sealer: AppSealer, row: asyncpg.Record) -> tuple[Attribute, ...]:
    return unseal_attributes(sealer, row["recipient_ref"], row["filterable"], row["attributes"])
