"""Wishes of recipients in Postgres, and the log of their changes."""

from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg

from clarion_kit.errors import DomainError, ErrorReason
from clarion_ledger.db import Connection, Pool, of_app
from clarion_preference.adapters.documents import from_document, to_document
from clarion_preference.adapters.references import REQUEST_ROLE, not_found, reference
from clarion_preference.domain import Wishes
from clarion_preference.recipients import Actor, WishChange, WishWay

_WISHES = """
SELECT wishes, revision FROM preference.recipient WHERE app_id = $1 AND recipient_ref = preference.meant($1, $2)
"""
_LOCK = "SELECT recipient_ref, wishes, revision FROM preference.lock_recipient($1, $2)"
_WRITE = "SELECT preference.write_wishes($1, $2, $3, $4, $5)"
_MEANT = "SELECT preference.meant($1, $2)"
CHANGES = """
SELECT c.change_id, c.at, c.way, c.who, c.revision, c.before, c.after, c.stopped FROM preference.wish_change c
WHERE c.app_id = $1 AND c.recipient_ref IN (
    SELECT r.recipient_ref FROM preference.recipient r
    WHERE r.app_id = $1 AND (r.recipient_ref = $2 OR r.merged_into = $2)
) AND ($3::uuid IS NULL OR c.change_id < $3)
ORDER BY c.change_id DESC LIMIT $4
"""
"""Changes of a recipient and of those that were merged into it, latest first."""


class PostgresWishBook:
    """`ports.WishBook` on the schema `preference`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def wishes(self, app_id: int, recipient_id: str) -> tuple[Wishes, int]:
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            row = await db.fetchrow(_WISHES, app_id, reference(app_id, recipient_id))
        if row is None:
            raise not_found(recipient_id)
        return from_document(row["wishes"]), row["revision"]

    async def set_wishes(self, app_id: int, recipient_id: str, wishes: Wishes, if_revision: int, actor: Actor) -> int:
        def replaced(stored: Wishes, revision: int) -> Wishes:
            if if_revision not in (0, revision) and stored != wishes:
                raise DomainError(
                    ErrorReason.REVISION_CONFLICT,
                    "the wishes were changed in the meantime; read them again",
                    metadata={"revision": str(revision)},
                )
            return wishes

        return _known(await self._change(app_id, reference(app_id, recipient_id), replaced, actor), recipient_id)

    async def change_wishes(
        self, app_id: int, recipient_id: str, change: Callable[[Wishes], Wishes], actor: Actor
    ) -> int:
        changed = await self._change(app_id, reference(app_id, recipient_id), lambda stored, _: change(stored), actor)
        return _known(changed, recipient_id)

    async def change_wishes_of(
        self, app_id: int, recipient_ref: UUID, change: Callable[[Wishes], Wishes], actor: Actor
    ) -> int:
        revision = await self._change(app_id, recipient_ref, lambda stored, _: change(stored), actor)
        if revision is None:
            raise DomainError(ErrorReason.RECIPIENT_NOT_FOUND, "there is no such recipient")
        return revision

    async def changes(self, app_id: int, recipient_id: str, limit: int, before: UUID | None) -> list[WishChange]:
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            meant: UUID | None = await db.fetchval(_MEANT, app_id, reference(app_id, recipient_id))
            if meant is None:
                raise not_found(recipient_id)
            return await changes_of(db, app_id, meant, limit, before)

    async def _change(
        self, app_id: int, ref: UUID, change: Callable[[Wishes, int], Wishes], actor: Actor
    ) -> int | None:
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            row = await db.fetchrow(_LOCK, app_id, ref)
            if row is None:
                return None
            document = to_document(change(from_document(row["wishes"]), row["revision"]))
            revision: int = await db.fetchval(_WRITE, app_id, row["recipient_ref"], document, actor.way, actor.who)
        return revision


async def changes_of(
    db: Connection, app_id: int, ref: UUID, limit: int, before: UUID | None = None
) -> list[WishChange]:
    """`ref`: no alias."""
    rows: Sequence[asyncpg.Record] = await db.fetch(CHANGES, app_id, ref, before, limit)
    return [
        WishChange(
            change_id=row["change_id"],
            at=row["at"],
            way=WishWay(row["way"]),
            who=row["who"],
            revision=row["revision"],
            before=None if row["before"] is None else from_document(row["before"]),
            after=None if row["after"] is None else from_document(row["after"]),
            stopped=bool(row["stopped"]),
        )
        for row in rows
    ]


def _known(revision: int | None, recipient_id: str) -> int:
    if revision is None:
        raise not_found(recipient_id)
    return revision
