"""Fields that several services check alike."""

from clarion_kit.validate import Faults
from clarion_ledger import admin
from clarion_ledger.db import Pool


async def app_id_of(pool: Pool, name: str) -> int:
    """The app that a request names in its field `app`. Raises INVALID_FIELD, APP_NOT_FOUND, LedgerUnavailable."""
    faults = Faults()
    faults.name("app", name)
    faults.raise_if_any()
    return await admin.app_id_of(pool, name)
