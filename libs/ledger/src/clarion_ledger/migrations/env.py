"""Alembic's entry: every pending step in one transaction each, under one advisory lock."""

from alembic import context
from sqlalchemy import text

LOCK = 7200

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
    connection.commit()
    context.configure(connection=connection, transaction_per_migration=True, version_table="clarion_version")
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
