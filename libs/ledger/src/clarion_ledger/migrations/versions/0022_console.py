"""tracking: 0022_console.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run_sql("clarion_tracker", "0022_console.sql")
