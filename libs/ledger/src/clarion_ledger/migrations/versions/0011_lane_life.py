"""ledger: 0011_lane_life.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("clarion_ledger", "0011_lane_life.sql")
