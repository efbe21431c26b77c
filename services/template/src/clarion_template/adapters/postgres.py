"""Versions in Postgres. Every transaction names the app it may see; rendering, a batch over apps, names all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from clarion_ledger.db import Connection, Pool, connection
from clarion_template.domain import NewVersion, Stored, Summary, VersionKey

_ALL_APPS = "all"

_FIND = "SELECT version FROM template.template_version WHERE app_id = $1 AND name = $2 AND sha256 = $3"
_NUMBER = """
UPDATE template.template SET latest_version = latest_version + 1
WHERE app_id = $1 AND name = $2 RETURNING latest_version
"""
_INSERT = """
INSERT INTO template.template_version (app_id, name, version, sha256, variables, locales, document)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_FRAMES = """
INSERT INTO ledger.frame (sha256, frame)
SELECT sha256, frame FROM unnest($1::bytea[], $2::bytea[]) AS new (sha256, frame) ORDER BY sha256
ON CONFLICT DO NOTHING
"""
_PUBLISH = """
UPDATE template.template SET published_version = $3
WHERE app_id = $1 AND name = $2
  AND EXISTS (SELECT FROM template.template_version WHERE app_id = $1 AND name = $2 AND version = $3)
RETURNING published_version
"""
_SUMMARIES = """
SELECT t.name, t.published_version, t.latest_version, v.locales
FROM template.template t
JOIN template.template_version v ON v.app_id = t.app_id AND v.name = t.name AND v.version = t.latest_version
WHERE t.app_id = $1 ORDER BY t.name
"""
_PUBLISHED = """
SELECT coalesce(t.published_version, 0) AS published, coalesce(t.latest_version, 0) AS latest
FROM unnest($1::int4[], $2::text[]) WITH ORDINALITY AS wanted (app_id, name, ord)
LEFT JOIN template.template t ON t.app_id = wanted.app_id AND t.name = wanted.name
ORDER BY wanted.ord
"""


class PostgresStore:
    """Implements the port Store. Raises LedgerUnavailable, DomainError STORAGE_FULL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, new: NewVersion, *, publish: bool) -> int:
        """One transaction; the template's row is the lock that numbers versions."""
        async with self._seeing(str(new.app_id)) as db:
            await db.execute(
                "INSERT INTO template.template (app_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                new.app_id,
                new.name,
            )
            await db.execute(
                "SELECT FROM template.template WHERE app_id = $1 AND name = $2 FOR UPDATE", new.app_id, new.name
            )
            version: int | None = await db.fetchval(_FIND, new.app_id, new.name, new.sha256)
            if version is None:
                version = await self._insert(db, new)
            if publish:
                await db.execute(_PUBLISH, new.app_id, new.name, version)
            return version

    async def _insert(self, db: Connection, new: NewVersion) -> int:
        version: int = await db.fetchval(_NUMBER, new.app_id, new.name)
        await db.execute(
            _INSERT, new.app_id, new.name, version, new.sha256, list(new.variables), list(new.locales), new.document
        )
        if new.frames:
            await db.execute(_FRAMES, list(new.frames), list(new.frames.values()))
        return version

    async def get(self, key: VersionKey) -> Stored | None:
        """The version, or None."""
        async with self._seeing(str(key.app_id)) as db:
            row = await db.fetchrow(
                "SELECT document, created_at FROM template.template_version WHERE app_id = $1 AND name = $2 AND version = $3",
                key.app_id,
                key.name,
                key.version,
            )
        return Stored(key, row["document"], row["created_at"]) if row else None

    async def summaries(self, app_id: int) -> list[Summary]:
        """The app's templates, by name."""
        async with self._seeing(str(app_id)) as db:
            rows = await db.fetch(_SUMMARIES, app_id)
        return [
            Summary(row["name"], row["published_version"], row["latest_version"], tuple(row["locales"])) for row in rows
        ]

    async def publish(self, key: VersionKey) -> bool:
        """False if there is no such version."""
        async with self._seeing(str(key.app_id)) as db:
            return await db.fetchval(_PUBLISH, key.app_id, key.name, key.version) is not None

    async def published(self, names: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
        """(published, latest) of each, in one statement."""
        async with self._seeing(_ALL_APPS) as db:
            rows = await db.fetch(_PUBLISHED, [app_id for app_id, _ in names], [name for _, name in names])
        return [(row["published"], row["latest"]) for row in rows]

    @asynccontextmanager
    async def _seeing(self, app: str) -> AsyncIterator[Connection]:
        async with connection(self._pool) as db, db.transaction():
            await db.execute("SELECT set_config('clarion.app', $1, true)", app)
            yield db
