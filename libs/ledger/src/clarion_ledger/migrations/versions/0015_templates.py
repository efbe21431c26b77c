"""template: 0015_templates.sql of clarion_template."""

from clarion_ledger.migrations.step import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("clarion_template", "0015_templates.sql")
