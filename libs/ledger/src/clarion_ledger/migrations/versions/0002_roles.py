"""roles: 0002_roles.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("clarion_ledger", "0002_roles.sql")
