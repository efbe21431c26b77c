"""Recipients of one app in Postgres: stored, shown, their addresses registered and removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from clarion_kit.errors import DomainError, FieldFault, invalid_fields
from clarion_kit.sealing import AppSealer
from clarion_ledger.db import Connection, Pool, of_app
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.documents import from_document, to_document
from clarion_preference.adapters.known_addresses import addresses_of
from clarion_preference.adapters.references import REQUEST_ROLE, not_found, reference
from clarion_preference.adapters.sealed_address import Stored, address_id, app_sealer, blind_index, seal, seal_facts
from clarion_preference.adapters.sealed_attributes import seal_attributes, unseal_attributes
from clarion_preference.addresses import Address
from clarion_preference.attributes import AddressFacts
from clarion_preference.recipients import (
    DEFAULT_LOCALE,
    DEFAULT_TIME_ZONE,
    Actor,
    Profile,
    RecipientUpdate,
    Upserted,
)

_STORE = """
SELECT * FROM preference.store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb[], $12, $13, $14, $15, $16, $17, $18, $19)
"""
_ALIASES = """
SELECT recipient_ref, merged_into FROM preference.recipient
WHERE app_id = $1 AND recipient_ref = ANY ($2) AND merged_into IS NOT NULL
"""
PROFILE = """
SELECT r.* FROM preference.recipient r WHERE r.app_id = $1 AND r.recipient_ref = preference.meant($1, $2)
"""
"""The row of the recipient that a reference means."""
_REMOVE = "SELECT preference.remove($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class _Row:
    """A recipient to store, under the reference that it is sealed for."""

    ref: UUID
    update: RecipientUpdate
    addresses: tuple[tuple[Stored, bytes | None], ...]
    filterable: str | None = None
    attributes: bytes | None = None


class PostgresDirectory:
    """`ports.Directory` on the schema `preference`."""

    def __init__(self, pool: Pool, keys: KeyRing) -> None:
        self._pool = pool
        self._keys = keys

    async def upsert(
        self, app_id: int, updates: Sequence[RecipientUpdate], actor: Actor | None = None
    ) -> list[Upserted | DomainError]:
        sealer = await app_sealer(self._keys, app_id)
        references = await self._references(app_id, updates)
        rows: dict[UUID, _Row] = {}
        for update in updates:
            ref = references[update.recipient_id]
            rows.setdefault(ref, _row(sealer, app_id, ref, update))
        stored = await self._bisected(app_id, list(rows.values()), actor or Actor())
        return [
            stored[ref] if rows[ref := references[update.recipient_id]].update is update else _SAME
            for update in updates
        ]

    async def profile(self, app_id: int, recipient_id: str) -> Profile:
        sealer = await app_sealer(self._keys, app_id)
        async with of_app(self._pool, app_id, REQUEST_ROLE, isolation="repeatable_read", readonly=True) as db:
            row = await db.fetchrow(PROFILE, app_id, reference(app_id, recipient_id))
            if row is None:
                raise not_found(recipient_id)
            return await profile_of(db, sealer, row)

    async def register(
        self, app_id: int, recipient_id: str, address: Address, facts: AddressFacts | None = None
    ) -> UUID:
        sealer = await app_sealer(self._keys, app_id)
        update = RecipientUpdate(recipient_id, addresses=(address,), facts={} if facts is None else {address: facts})
        row = _row(sealer, app_id, reference(app_id, recipient_id), update)
        if not await self._store(app_id, [row], Actor(), only_known=True):
            raise not_found(recipient_id)
        [(stored, _)] = row.addresses
        return stored.address_id

    async def remove(self, app_id: int, recipient_id: str, address: UUID | Address) -> None:
        if not isinstance(address, UUID):
            address = address_id(app_id, blind_index(await app_sealer(self._keys, app_id), address))
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            known: bool = await db.fetchval(_REMOVE, app_id, reference(app_id, recipient_id), address)
        if not known:
            raise not_found(recipient_id)

    async def _references(self, app_id: int, updates: Sequence[RecipientUpdate]) -> Mapping[str, UUID]:
        """By id. Attributes are sealed for their owner, so of a merged recipient it must be known who that is."""
        found = {update.recipient_id: reference(app_id, update.recipient_id) for update in updates}
        sealed = [found[update.recipient_id] for update in updates if update.attributes is not None]
        if not sealed:
            return found
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            rows = await db.fetch(_ALIASES, app_id, sealed)
        merged: dict[UUID, UUID] = {row["recipient_ref"]: row["merged_into"] for row in rows}
        return {id_: merged.get(ref, ref) for id_, ref in found.items()}

    async def _bisected(self, app_id: int, rows: Sequence[_Row], actor: Actor) -> dict[UUID, Upserted | DomainError]:
        try:
            created = await self._store(app_id, rows, actor, only_known=False)
        except asyncpg.DataError:
            # One value that Postgres cannot hold fails the whole statement: halve until it stands alone.
            if len(rows) == 1:
                return {rows[0].ref: invalid_fields([FieldFault("recipient", "cannot be stored")])}
            half = len(rows) // 2
            first = await self._bisected(app_id, rows[:half], actor)
            return {**first, **await self._bisected(app_id, rows[half:], actor)}
        return {row.ref: _result(row, created.get(row.ref)) for row in rows}

    async def _store(
        self, app_id: int, rows: Sequence[_Row], actor: Actor, *, only_known: bool
    ) -> dict[UUID, bool | None]:
        """Recipients that were stored, by reference, and whether they are new; None: the same as another of them."""
        # An address given by several belongs to the last.
        owned = {stored.address_id: (row.ref, stored, facts) for row in rows for stored, facts in row.addresses}
        addresses = list(owned.values())
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            answer = await db.fetch(
                _STORE,
                app_id,
                only_known,
                actor.way,
                actor.who,
                [row.ref for row in rows],
                [row.update.recipient_id for row in rows],
                [row.update.locale for row in rows],
                [row.update.time_zone for row in rows],
                [row.update.country for row in rows],
                [None if row.update.wishes is None else to_document(row.update.wishes) for row in rows],
                [row.filterable for row in rows],
                [row.attributes for row in rows],
                [stored.address_id for _, stored, _ in addresses],
                [ref for ref, _, _ in addresses],
                [stored.channel for _, stored, _ in addresses],
                [stored.hint for _, stored, _ in addresses],
                [stored.blind_index for _, stored, _ in addresses],
                [stored.sealed for _, stored, _ in addresses],
                [facts for _, _, facts in addresses],
            )
        return {row["ref"]: row["created"] for row in answer}


_SAME = invalid_fields([FieldFault("recipient_id", "is another id of a recipient that the batch has already")])


async def profile_of(db: Connection, sealer: AppSealer, row: asyncpg.Record, *, opened: bool = False) -> Profile:
    """What a row of `preference.recipient` and its addresses show; `opened`: addresses whole, for an export."""
    ref: UUID = row["recipient_ref"]
    return Profile(
        recipient_id=row["recipient_id"],
        locale=row["locale"] or DEFAULT_LOCALE,
        time_zone=row["time_zone"] or DEFAULT_TIME_ZONE,
        country=row["country"],
        wishes=from_document(row["wishes"]),
        addresses=await addresses_of(db, sealer, row["app_id"], ref, opened=opened),
        revision=row["revision"],
        attributes=unseal_attributes(sealer, ref, row["filterable"], row["attributes"]),
    )


def _row(sealer: AppSealer, app_id: int, ref: UUID, update: RecipientUpdate) -> _Row:
    addresses: list[tuple[Stored, bytes | None]] = []
    for address in update.addresses:
        stored = seal(sealer, app_id, address)
        facts = update.facts.get(address)
        addresses.append((stored, None if facts is None else seal_facts(sealer, stored.address_id, facts)))
    if update.attributes is None:
        return _Row(ref, update, tuple(addresses))
    return _Row(ref, update, tuple(addresses), *seal_attributes(sealer, ref, update.attributes))


def _result(row: _Row, created: bool | None) -> Upserted | DomainError:
    if created is None:
        return _SAME
    return Upserted(created, tuple(stored.address_id for stored, _ in row.addresses))
