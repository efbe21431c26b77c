"""ledger: 0013_waiting.sql."""

from clarion_ledger.migrations.step import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql("clarion_ledger", "0013_waiting.sql")
