"""preference: 0012_recipients.sql of clarion_preference."""

from clarion_ledger.migrations.step import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql("clarion_preference", "0012_recipients.sql")
