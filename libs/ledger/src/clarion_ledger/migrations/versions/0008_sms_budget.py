"""ledger: 0008_sms_budget.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql("clarion_ledger", "0008_sms_budget.sql")
