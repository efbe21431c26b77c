"""ledger: 0020_administration.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_sql("clarion_ledger", "0020_administration.sql")
