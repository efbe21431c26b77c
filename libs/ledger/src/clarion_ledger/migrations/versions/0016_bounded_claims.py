"""ledger: 0016_bounded_claims.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql("clarion_ledger", "0016_bounded_claims.sql")
