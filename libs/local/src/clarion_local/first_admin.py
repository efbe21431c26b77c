"""The first administrator of a mesh on this machine."""

import json
from collections.abc import Mapping
from pathlib import Path

from clarion_kit.keyfiles import load_secret
from clarion_ledger import admin, app_keys, db
from clarion_ledger.app_keys import KeyRow
from clarion_ledger.bootstrap import AlreadyBootstrapped, bootstrap
from clarion_ledger.keys import load_wrapper
from clarion_local.private_file import write_private

ADMIN_APP = "operations"


async def first_admin(owner_url: str, key_files: Mapping[str, Path], kept_in: Path) -> tuple[str, str]:
    """Key and secret of the operators' app, made at the first start as `clarion bootstrap` makes them, and kept in a private
    file before they count. Whoever owns the database may make others in place of lost ones, and here that is us.

    Raises LedgerUnavailable, OSError, and ValueError for key files that cannot be used.
    """
    kept = _kept(kept_in)
    if kept is not None:
        return kept

    async def keep(key: KeyRow, secret: str) -> None:
        write_private(kept_in, json.dumps({"key": key.app_key, "secret": secret}))

    wrapper, pepper = load_wrapper(key_files["kek"]), load_secret(key_files["pepper"])
    async with db.pool(owner_url, size=1, application="bootstrap") as pool:
        try:
            key, secret = await bootstrap(pool, wrapper, pepper, ADMIN_APP, keep)
        except AlreadyBootstrapped:
            known = {row.name: row.app_id for row in await admin.apps(pool)}
            app_id = known.get(ADMIN_APP) or (await admin.create_app(pool, wrapper, ADMIN_APP)).app_id
            key, secret = await app_keys.create_key(pool, pepper, app_id, [app_keys.ADMIN])
            await keep(key, secret)
    return key.app_key, secret


def _kept(path: Path) -> tuple[str, str] | None:
    if not path.exists():
        return None
    kept = json.loads(path.read_text())
    return kept["key"], kept["secret"]
