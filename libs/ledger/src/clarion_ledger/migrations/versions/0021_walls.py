"""ledger: 0021_walls.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run_sql("clarion_ledger", "0021_walls.sql")
