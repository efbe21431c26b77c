"""ledger: 0026_hot_path.sql of clarion_ledger."""

from clarion_ledger.migrations.step import run_sql

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run_sql("clarion_ledger", "0026_hot_path.sql")
