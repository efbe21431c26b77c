"""ledger: 0007_dead_letters.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("clarion_ledger", "0007_dead_letters.sql")
