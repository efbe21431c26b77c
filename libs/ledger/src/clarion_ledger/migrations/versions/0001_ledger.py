"""ledger: 0001_ledger.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("clarion_ledger", "0001_ledger.sql")
