"""tracking: 0005_tracking.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("clarion_tracker", "0005_tracking.sql")
