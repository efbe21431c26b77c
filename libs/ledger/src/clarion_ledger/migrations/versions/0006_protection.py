"""ledger, preference: 0006_protection.sql of clarion_ledger, 0006_revision.sql of clarion_preference."""

from clarion_ledger.migrations.step import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("clarion_ledger", "0006_protection.sql")
    run_sql("clarion_preference", "0006_revision.sql")
