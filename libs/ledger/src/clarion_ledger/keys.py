"""Per-app data keys: made with the app, wrapped in the ledger, opened once per process."""

import base64
import json
import os
from pathlib import Path

from clarion_kit.keyfiles import write_private
from clarion_kit.sealing import BLIND_KEY_ID, AppSealer, KeyWrapper
from clarion_ledger.db import Connection, Pool, connection


def load_wrapper(path: Path) -> KeyWrapper:
    """Read a key-encryption key file. Raises ValueError that names the fault without the key."""
    try:
        document = json.loads(path.read_text())
        keys = {str(id_): base64.b64decode(key, validate=True) for id_, key in document["keys"].items()}
        return KeyWrapper(str(document["active"]), keys)
    except (OSError, KeyError, TypeError, AttributeError) as fault:
        raise ValueError(f"the key-encryption key file is unreadable: {type(fault).__name__}") from None


def new_wrapper_file(path: Path) -> None:
    """Write a key file with one fresh random key, readable by its owner only."""
    document = {"active": "k1", "keys": {"k1": base64.b64encode(os.urandom(32)).decode()}}
    write_private(path, json.dumps(document))


async def create_app_keys(db: Connection, wrapper: KeyWrapper, app_id: int) -> None:
    """Make the blind key and the first data key of a new app, in the caller's transaction."""
    for key_id in (BLIND_KEY_ID, 1):
        await db.execute(
            "INSERT INTO ledger.data_key (app_id, key_id, kek_id, wrapped) VALUES ($1, $2, $3, $4)",
            app_id,
            key_id,
            wrapper.active,
            wrapper.wrap(app_id, key_id, os.urandom(32)),
        )


class KeyRing:
    """Sealers by app, loaded when first needed."""

    def __init__(self, pool: Pool, wrapper: KeyWrapper) -> None:
        self._pool = pool
        self._wrapper = wrapper
        self._sealers: dict[int, AppSealer] = {}

    async def sealer(self, app_id: int) -> AppSealer:
        """Raises LedgerUnavailable, KeyError (no such app), Unsealable (wrong key-encryption key)."""
        sealer = self._sealers.get(app_id)
        if sealer is None:
            sealer = self._sealers[app_id] = await self._load(app_id)
        return sealer

    async def _load(self, app_id: int) -> AppSealer:
        async with connection(self._pool) as db:
            rows = await db.fetch("SELECT key_id, kek_id, wrapped FROM ledger.data_key WHERE app_id = $1", app_id)
        if not rows:
            raise KeyError(app_id)
        keys = {
            row["key_id"]: self._wrapper.unwrap(app_id, row["key_id"], row["kek_id"], row["wrapped"]) for row in rows
        }
        return AppSealer(app_id, keys)
