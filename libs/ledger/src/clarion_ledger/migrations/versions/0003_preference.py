"""preference: 0003_preference.sql of clarion_preference."""

from clarion_ledger.migrations.step import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("clarion_preference", "0003_preference.sql")
