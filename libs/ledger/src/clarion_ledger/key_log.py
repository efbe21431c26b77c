"""Keys that do not rest in the database: what is done to them is in the audit log all the same."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from clarion_ledger import audit_log, keks
from clarion_ledger.db import Pool, connection

TOKEN_KEYS_REPLACED = "ReplaceTokenKeys"
_LOCK = 7221
"""Of those who tell of the same file, one after the other."""


async def add_kek(pool: Pool, path: Path) -> str:
    """`keks.add_kek`, told. Without the audit log the file stays as it is. Raises ValueError, OSError, LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        former = keks.KekFile(path).active
        new = keks.add_kek(path)
        await audit_log.record(
            db, "AddKeyEncryptionKey", 0, f"key-encryption key {new}", before={"active": former}, after={"active": new}
        )
    return new


async def drop_kek(pool: Pool, path: Path, kek_id: str) -> None:
    """`keks.drop_kek`, told. Without the audit log the file stays as it is. Raises ValueError, OSError, LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        keks.drop_kek(path, kek_id)
        await audit_log.record(
            db, "DropKeyEncryptionKey", 0, f"key-encryption key {kek_id}", before={"held": True}, after={"held": False}
        )


async def note_token_keys(
    pool: Pool, signs: str, verify: Collection[str], *, former: Mapping[str, object] | None = None
) -> None:
    """Ids of the keys that a gateway signs and verifies tokens with, told once however many gateways see them.

    `former`: what it used before (`token_keys` of that), None at its start. Then they are told if the log tells of others: a
    file may change while no gateway runs. Raises LedgerUnavailable.
    """
    now = token_keys(signs, verify)
    async with connection(pool) as db, db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        told = await db.fetchval(
            "SELECT after FROM ledger.audit_log WHERE act = $1 ORDER BY seq DESC LIMIT 1", TOKEN_KEYS_REPLACED
        )
        before = json.loads(told) if told else former
        if before is not None and before != now:
            await audit_log.record(db, TOKEN_KEYS_REPLACED, 0, "token keys", before=before, after=now)


def token_keys(signs: str, verify: Collection[str]) -> dict[str, object]:
    """Token keys as the audit log tells of them: ids alone."""
    return {"signs": signs, "verify": sorted(verify)}
