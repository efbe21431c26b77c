"""ledger: 0023_test_sends.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run_sql("clarion_ledger", "0023_test_sends.sql")
