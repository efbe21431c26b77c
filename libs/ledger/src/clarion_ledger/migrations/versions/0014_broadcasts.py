"""ledger: 0014_broadcasts.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("clarion_ledger", "0014_broadcasts.sql")
