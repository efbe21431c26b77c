"""tracker: 0018_rollups.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_sql("clarion_tracker", "0018_rollups.sql")
