"""The first administrator of a mesh: an app and a key with the scope `admin`, made once and never again."""

from collections.abc import Awaitable, Callable

from clarion_kit.sealing import KeyWrapper
from clarion_ledger.admin import insert_app
from clarion_ledger.app_keys import ADMIN, UNLIMITED, KeyRow, insert_key
from clarion_ledger.db import Pool, connection


class AlreadyBootstrapped(Exception):
    """There is, or was, a key with the scope `admin`: whoever lost it asks another administrator, or the database's owner."""


async def bootstrap(
    pool: Pool,
    wrapper: KeyWrapper,
    pepper: bytes,
    app: str,
    keep: Callable[[KeyRow, str], Awaitable[None]] | None = None,
) -> tuple[KeyRow, str]:
    """The first admin key of a mesh, of the app of that name, and its secret, which exists nowhere else afterwards.

    Of two at once one wins: nobody makes keys while this looks for one. `keep` puts the secret away before the key counts:
    what it raises takes the key back. Raises AlreadyBootstrapped, LedgerUnavailable.
    """
    async with connection(pool) as db, db.transaction():
        await db.execute("LOCK TABLE ledger.app_key IN SHARE ROW EXCLUSIVE MODE")
        if await db.fetchval("SELECT EXISTS (SELECT FROM ledger.app_key WHERE $1 = ANY (scopes))", ADMIN):
            raise AlreadyBootstrapped("there is, or was, an admin key in this mesh")
        app_id: int | None = await db.fetchval("SELECT app_id FROM ledger.app WHERE name = $1", app)
        if app_id is None:
            app_id = (await insert_app(db, wrapper, app)).app_id
        made = await insert_key(db, pepper, app_id, [ADMIN], None, UNLIMITED, act="Bootstrap")
        if keep is not None:
            await keep(*made)
        return made
