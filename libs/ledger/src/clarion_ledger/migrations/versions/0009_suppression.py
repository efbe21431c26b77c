"""preference: 0009_suppression.sql of clarion_preference; tracker: 0009_callbacks.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql("clarion_preference", "0009_suppression.sql")
    run_sql("clarion_tracker", "0009_callbacks.sql")
