"""ledger: 0010_quality.sql of clarion_ledger; tracker: 0010_segments.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql("clarion_ledger", "0010_quality.sql")
    run_sql("clarion_tracker", "0010_segments.sql")
