"""What the audit log is told of token keys: a gateway used others than before."""

from clarion_kit import mesh
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_ledger import key_log
from clarion_ledger.db import Pool

ACTOR = f"daemon:{mesh.GATEWAY}"
"""Whoever put the keys into the file is known where the file is kept."""


async def note_token_keys(pool: Pool, former: TokenKeys | None, now: TokenKeys) -> None:
    """Raises LedgerUnavailable."""
    before = key_log.token_keys(former.active, former.public.keys()) if former is not None else None
    with calling_as(Caller(mesh.GATEWAY, key=ACTOR)):
        await key_log.note_token_keys(pool, now.active, now.public.keys(), former=before)
