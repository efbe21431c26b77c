"""Readiness of the ledger: it answers, it is migrated, and what it acknowledges survives a power cut.

A database that may forget is refused: no daemon serves on it. `synchronous_commit` is set by every session of ours; what a
session cannot set is looked at here.
"""

import logging

from clarion_kit.settings import FaultySettings
from clarion_ledger.db import LedgerUnavailable, Pool, connection

log = logging.getLogger(__name__)

_LOOK = """
SELECT to_regclass($1) IS NOT NULL AS migrated, current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('data_checksums') AS data_checksums, current_setting('synchronous_standby_names') AS standbys
"""
SAFE_COMMITS = frozenset({"on", "remote_apply"})


class UnsafeDatabase(FaultySettings):
    """Postgres runs with settings under which an acknowledged write may be lost."""


class Ready:
    """The readiness check of one daemon: `needs` is the newest table it uses. In production a synchronous standby is
    required; elsewhere one warning says that there is none."""

    def __init__(self, pool: Pool, needs: str, *, production: bool = False) -> None:
        self._pool = pool
        self._needs = needs
        self._production = production
        self._warned = False

    async def __call__(self) -> None:
        """Raises LedgerUnavailable, and UnsafeDatabase, which ends the daemon."""
        async with connection(self._pool) as db:
            found = await db.fetchrow(_LOOK, self._needs)
        if found is None or not found["migrated"]:
            raise LedgerUnavailable(f"the database is not migrated: {self._needs} is missing")
        faults = [
            f"CLARION_DATABASE_URL: Postgres runs with {name} = {found[name]}; acknowledged writes could be lost"
            for name, safe in (
                ("fsync", found["fsync"] == "on"),
                ("full_page_writes", found["full_page_writes"] == "on"),
                ("synchronous_commit", found["synchronous_commit"] in SAFE_COMMITS),
            )
            if not safe
        ]
        weak = []
        if not found["standbys"]:
            weak.append("no synchronous standby: what the primary's disk loses is lost (synchronous_standby_names)")
        if found["data_checksums"] != "on":
            weak.append("no data checksums: damaged pages go unnoticed")
        if self._production:
            faults += [f"CLARION_DATABASE_URL: {text}" for text in weak]
        if faults:
            raise UnsafeDatabase(faults)
        if weak and not self._warned:
            self._warned = True
            log.warning("Postgres has %s", "; ".join(weak))
