"""ledger: 0019_feed.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_sql("clarion_ledger", "0019_feed.sql")
