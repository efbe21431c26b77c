"""ledger: 0024_sms_charges.sql and 0024_fresh_claims.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run_sql("clarion_ledger", "0024_fresh_claims.sql")
    run_sql("clarion_ledger", "0024_sms_charges.sql")
