"""template: 0004_template.sql of clarion_template."""

from clarion_ledger.migrations.step import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("clarion_template", "0004_template.sql")
