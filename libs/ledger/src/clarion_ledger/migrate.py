"""`clarion migrate`: bring the database to the newest version, or say where it stands. Synchronous."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

_ALEMBIC = Lock()
"""Alembic keeps the history it works on in a global: two databases of one process take turns."""


@dataclass(frozen=True, slots=True)
class Status:
    """Version of the database (None: empty), the newest one, and the steps between."""

    current: str | None
    head: str
    pending: list[str]


def upgrade(url: str) -> None:
    """Apply every pending step. Safe to run twice at once.

    `url`: a postgresql:// URL of the schema's owner; may name several hosts, as libpq reads it.
    """
    with _ALEMBIC:
        command.upgrade(_config(url), "head")


def status(url: str) -> Status:
    """Where the database stands."""
    script = ScriptDirectory.from_config(_config(url))
    engine = _engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "clarion_version"})
        current = context.get_current_revision()
    head = script.get_current_head()
    if head is None:
        raise RuntimeError("the history is empty")
    pending = [step.revision for step in script.iterate_revisions(head, current)]
    return Status(current, head, pending[::-1])


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = _engine(url)
    return config


def _engine(url: str) -> Engine:
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("the database URL must start with postgresql://")
    # SQLAlchemy's own URLs have no place for a second host; libpq's have.
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
