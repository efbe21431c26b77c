"""tracking: 0025_template_names.sql of clarion_tracker."""

from clarion_ledger.migrations.step import run_sql

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run_sql("clarion_tracker", "0025_template_names.sql")
