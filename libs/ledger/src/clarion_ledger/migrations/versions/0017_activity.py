"""ledger: 0017_app_receipts.sql of clarion_ledger; tracker: 0017_activity.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql("clarion_ledger", "0017_app_receipts.sql")
    run_sql("clarion_tracker", "0017_activity.sql")
