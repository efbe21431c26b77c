"""Recipients of one app in Postgres."""

from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg

from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.sealing import AppSealer, recipient_reference
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool, connection
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.documents import from_document, to_document
from clarion_preference.adapters.sealed_address import Stored, address_id, app_sealer, blind_index, seal, unseal
from clarion_preference.addresses import Address
from clarion_preference.domain import Wishes
from clarion_preference.recipients import (
    DEFAULT_LOCALE,
    DEFAULT_TIME_ZONE,
    AddressStatus,
    KnownAddress,
    Profile,
    RecipientUpdate,
    Upserted,
)

MAX_SHOWN = 64
"""Addresses that a profile shows: the newest ones."""

_UPSERT = "SELECT * FROM preference.upsert($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
_RECIPIENT = "SELECT * FROM preference.recipient WHERE app_id = $1 AND recipient_ref = $2"
_ADDRESSES = f"""
SELECT address_id, channel, sealed, status, registered_at FROM preference.address
WHERE app_id = $1 AND recipient_ref = $2 ORDER BY registered_at DESC, address_id LIMIT {MAX_SHOWN}
"""
_REMOVE = """
WITH removed AS (
    UPDATE preference.address SET status = 3, sealed = NULL
    WHERE address_id = $3 AND app_id = $1 AND recipient_ref = $2 AND status <> 3
    RETURNING app_id, recipient_ref
), changed AS (
    UPDATE preference.recipient r SET revision = r.revision + 1, updated_at = now()
    FROM removed d WHERE r.app_id = d.app_id AND r.recipient_ref = d.recipient_ref
)
SELECT EXISTS (SELECT FROM preference.recipient WHERE app_id = $1 AND recipient_ref = $2)
"""
_SET_WISHES = """
UPDATE preference.recipient
SET wishes = $3, updated_at = now(), revision = revision + (coalesce(wishes, '') <> $3)::int
WHERE app_id = $1 AND recipient_ref = $2 AND ($4 = 0 OR revision = $4 OR coalesce(wishes, '') = $3)
RETURNING revision
"""


class PostgresDirectory:
    """`ports.Directory` on the schema `preference`."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def upsert(self, app_id: int, updates: Sequence[RecipientUpdate]) -> list[Upserted | DomainError]:
        return await self._upsert(app_id, await self._sealer(app_id), updates)

    async def profile(self, app_id: int, recipient_id: str) -> Profile:
        sealer = await self._sealer(app_id)
        ref = _reference(app_id, recipient_id)
        async with connection(self._pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
            row = await db.fetchrow(_RECIPIENT, app_id, ref)
            if row is None:
                raise _not_found(recipient_id)
            addresses = await db.fetch(_ADDRESSES, app_id, ref)
        return Profile(
            recipient_id=row["recipient_id"],
            locale=row["locale"] or DEFAULT_LOCALE,
            time_zone=row["time_zone"] or DEFAULT_TIME_ZONE,
            country=row["country"],
            wishes=from_document(row["wishes"]),
            addresses=tuple(_known(sealer, address) for address in addresses),
            revision=row["revision"],
        )

    async def register(self, app_id: int, recipient_id: str, address: Address) -> UUID:
        sealer = await self._sealer(app_id)
        update = RecipientUpdate(recipient_id, addresses=(address,))
        stored = seal(sealer, app_id, address)
        rows = await self._store(app_id, [update], {stored.address_id: (recipient_id, stored)}, only_known=True)
        if not rows:
            raise _not_found(recipient_id)
        return stored.address_id

    async def remove(self, app_id: int, recipient_id: str, address: UUID | Address) -> None:
        if not isinstance(address, UUID):
            address = address_id(app_id, blind_index(await self._sealer(app_id), address))
        async with connection(self._pool) as db:
            known: bool = await db.fetchval(_REMOVE, app_id, _reference(app_id, recipient_id), address)
        if not known:
            raise _not_found(recipient_id)

    async def wishes(self, app_id: int, recipient_id: str) -> tuple[Wishes, int]:
        async with connection(self._pool) as db:
            row = await db.fetchrow(_RECIPIENT, app_id, _reference(app_id, recipient_id))
        if row is None:
            raise _not_found(recipient_id)
        return from_document(row["wishes"]), row["revision"]

    async def set_wishes(self, app_id: int, recipient_id: str, wishes: Wishes, if_revision: int) -> int:
        ref = _reference(app_id, recipient_id)
        async with connection(self._pool) as db:
            revision: int | None = await db.fetchval(_SET_WISHES, app_id, ref, to_document(wishes), if_revision)
            if revision is not None:
                return revision
            stored = await db.fetchrow(_RECIPIENT, app_id, ref)
        if stored is None:
            raise _not_found(recipient_id)
        raise DomainError(
            ErrorReason.REVISION_CONFLICT,
            "the wishes were changed in the meantime; read them again",
            metadata={"revision": str(stored["revision"])},
        )

    async def change_wishes(self, app_id: int, recipient_id: str, change: Callable[[Wishes], Wishes]) -> int:
        revision = await self._change_wishes(app_id, _reference(app_id, recipient_id), change)
        if revision is None:
            raise _not_found(recipient_id)
        return revision

    async def change_wishes_of(self, app_id: int, recipient_ref: UUID, change: Callable[[Wishes], Wishes]) -> int:
        revision = await self._change_wishes(app_id, recipient_ref, change)
        if revision is None:
            raise DomainError(ErrorReason.RECIPIENT_NOT_FOUND, "there is no such recipient")
        return revision

    async def _change_wishes(self, app_id: int, ref: UUID, change: Callable[[Wishes], Wishes]) -> int | None:
        async with connection(self._pool) as db, db.transaction():
            row = await db.fetchrow(f"{_RECIPIENT} FOR UPDATE", app_id, ref)
            if row is None:
                return None
            document = to_document(change(from_document(row["wishes"])))
            revision: int = await db.fetchval(_SET_WISHES, app_id, ref, document, 0)
        return revision

    async def _sealer(self, app_id: int) -> AppSealer:
        return await app_sealer(self._keys, app_id)

    async def _upsert(
        self, app_id: int, sealer: AppSealer, updates: Sequence[RecipientUpdate]
    ) -> list[Upserted | DomainError]:
        ids: list[tuple[UUID, ...]] = []
        addresses: dict[UUID, tuple[str, Stored]] = {}
        for update in updates:
            stored = [seal(sealer, app_id, address) for address in update.addresses]
            ids.append(tuple(address.address_id for address in stored))
            addresses.update({address.address_id: (update.recipient_id, address) for address in stored})
        try:
            created = await self._store(app_id, updates, addresses, only_known=False)
        except asyncpg.DataError:
            # One value that Postgres cannot hold fails the whole statement: halve until it stands alone.
            if len(updates) == 1:
                return [invalid_fields([FieldFault("recipient", "cannot be stored")])]
            half = len(updates) // 2
            first = await self._upsert(app_id, sealer, updates[:half])
            return [*first, *await self._upsert(app_id, sealer, updates[half:])]
        return [
            Upserted(created[_reference(app_id, update.recipient_id)], address_ids)
            for update, address_ids in zip(updates, ids, strict=True)
        ]

    async def _store(
        self,
        app_id: int,
        updates: Sequence[RecipientUpdate],
        addresses: dict[UUID, tuple[str, Stored]],
        *,
        only_known: bool,
    ) -> dict[UUID, bool]:
        """Recipients that were stored, by reference, and whether they are new. `addresses`: owner and stored form."""
        stored = [address for _, address in addresses.values()]
        async with connection(self._pool) as db:
            rows = await db.fetch(
                _UPSERT,
                app_id,
                only_known,
                [_reference(app_id, update.recipient_id) for update in updates],
                [update.recipient_id for update in updates],
                [update.locale for update in updates],
                [update.time_zone for update in updates],
                [update.country for update in updates],
                [None if update.wishes is None else to_document(update.wishes) for update in updates],
                [address.address_id for address in stored],
                [_reference(app_id, owner) for owner, _ in addresses.values()],
                [address.channel for address in stored],
                [address.hint for address in stored],
                [address.blind_index for address in stored],
                [address.sealed for address in stored],
            )
        return {row["ref"]: row["created"] for row in rows}


def _reference(app_id: int, recipient_id: str) -> UUID:
    return UUID(bytes=recipient_reference(app_id, recipient_id))


def _known(sealer: AppSealer, row: asyncpg.Record) -> KnownAddress:
    sealed: bytes | None = row["sealed"]
    return KnownAddress(
        address_id=row["address_id"],
        channel=Channel(row["channel"]),
        masked="" if sealed is None else unseal(sealer, row["address_id"], sealed).masked,
        status=AddressStatus(row["status"]),
        registered_at=row["registered_at"],
    )


def _not_found(recipient_id: str) -> DomainError:
    return DomainError(
        ErrorReason.RECIPIENT_NOT_FOUND, "there is no such recipient", metadata={"recipient_id": recipient_id}
    )
