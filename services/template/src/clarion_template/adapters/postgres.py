"""Versions and partials in Postgres. Every transaction names the app it may see; rendering, a batch over apps, names all."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from clarion.template.v1.template_service_pb2 import Partial
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, Pool, connection
from clarion_template.domain import Current, Listed, NewVersion, Stored, Summary, Use, VersionKey

_ALL_APPS = "all"

_FIND = "SELECT version FROM template.template_version WHERE app_id = $1 AND name = $2 AND sha256 = $3"
_NUMBER = """
UPDATE template.template SET latest_version = latest_version + 1
WHERE app_id = $1 AND name = $2 RETURNING latest_version
"""
_INSERT = """
INSERT INTO template.template_version (app_id, name, version, sha256, variables, locales, document, source, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_FRAMES = """
INSERT INTO ledger.frame (sha256, frame)
SELECT sha256, frame FROM unnest($1::bytea[], $2::bytea[]) AS new (sha256, frame) ORDER BY sha256
ON CONFLICT DO NOTHING
"""
_STORED = "SELECT FROM template.template_version WHERE app_id = $1 AND name = $2 AND version = $3"
_GET = """
SELECT document, source, created_at, created_by FROM template.template_version
WHERE app_id = $1 AND name = $2 AND version = $3
"""
# Only a change is written down, so that a repeated call is no publication.
_PUBLISH = """
WITH changed AS (
    UPDATE template.template SET published_version = $3
    WHERE app_id = $1 AND name = $2 AND published_version <> $3
    RETURNING app_id
)
INSERT INTO template.publication (app_id, name, version, published_by) SELECT app_id, $2, $3, $4 FROM changed
"""
_PUBLISHED_VERSION = "SELECT published_version FROM template.template WHERE app_id = $1 AND name = $2 FOR UPDATE"
_VERSIONS = """
SELECT v.version, v.created_at, v.created_by, v.locales, v.version = t.published_version AS published,
       p.published_at, coalesce(p.published_by, '') AS published_by
FROM template.template t
JOIN template.template_version v ON v.app_id = t.app_id AND v.name = t.name
LEFT JOIN LATERAL (
    SELECT published_at, published_by FROM template.publication
    WHERE app_id = v.app_id AND name = v.name AND version = v.version
    ORDER BY publication_id DESC LIMIT 1
) p ON true
WHERE t.app_id = $1 AND t.name = $2 AND ($3 = 0 OR v.version < $3)
ORDER BY v.version DESC LIMIT $4
"""
_ARCHIVE = """
UPDATE template.template
SET archived_at = CASE WHEN $3 THEN NULL ELSE coalesce(archived_at, now()) END
WHERE app_id = $1 AND name = $2 RETURNING name
"""
_PARTIALS = """
SELECT wanted.name, wanted.version AS wanted, p.version, p.document, p.created_at, p.created_by
FROM unnest($2::text[], $3::int4[]) AS wanted (name, version)
JOIN LATERAL (
    SELECT * FROM template.partial
    WHERE app_id = $1 AND name = wanted.name AND (wanted.version = 0 OR version = wanted.version)
    ORDER BY version DESC LIMIT 1
) p ON true
"""
_PARTIAL_LOCK = (
    "SELECT pg_advisory_xact_lock(hashtextextended('template.partial ' || $1::int4::text || ' ' || $2::text, 0))"
)
_PUT_PARTIAL = """
INSERT INTO template.partial (app_id, name, version, document, created_by) VALUES ($1, $2, $3, $4, $5)
"""
_SUMMARIES = """
SELECT t.name, t.published_version, t.latest_version, t.archived_at, v.locales
FROM template.template t
JOIN template.template_version v ON v.app_id = t.app_id AND v.name = t.name AND v.version = t.latest_version
WHERE t.app_id = $1 AND ($2 OR t.archived_at IS NULL) ORDER BY t.name
"""
_PUBLISHED = """
SELECT coalesce(t.published_version, 0) AS published, coalesce(t.latest_version, 0) AS latest,
       t.archived_at IS NOT NULL AS archived
FROM unnest($1::int4[], $2::text[]) WITH ORDINALITY AS wanted (app_id, name, ord)
LEFT JOIN template.template t ON t.app_id = wanted.app_id AND t.name = wanted.name
ORDER BY wanted.ord
"""
# 1: running, 2: paused (clarion.broadcast.v1.BroadcastState).
_USED_BY = """
(SELECT name AS schedule, NULL::uuid AS broadcast_id, paused FROM ledger.recurring
 WHERE app_id = $1 AND template = $2 AND next_at IS NOT NULL ORDER BY name LIMIT $3)
UNION ALL
(SELECT '', broadcast_id, state = 2 FROM ledger.broadcast
 WHERE app_id = $1 AND template = $2 AND state IN (1, 2) ORDER BY broadcast_id LIMIT $3)
LIMIT $3
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
                await self._publish(db, VersionKey(new.app_id, new.name, version), new.created_by)
            return version

    async def _publish(self, db: Connection, key: VersionKey, by: str) -> None:
        """What changed is in the audit log."""
        former: int | None = await db.fetchval(_PUBLISHED_VERSION, key.app_id, key.name)
        await db.execute(_PUBLISH, key.app_id, key.name, key.version, by)
        if former != key.version:
            target, before, after = f"template {key.name}", {"published": former}, {"published": key.version}
            await audit_log.record(db, "PublishTemplate", key.app_id, target, before=before, after=after)

    async def _insert(self, db: Connection, new: NewVersion) -> int:
        version: int = await db.fetchval(_NUMBER, new.app_id, new.name)
        await db.execute(
            _INSERT,
            new.app_id,
            new.name,
            version,
            new.sha256,
            list(new.variables),
            list(new.locales),
            new.document,
            new.source or None,
            new.created_by,
        )
        if new.frames:
            await db.execute(_FRAMES, list(new.frames), list(new.frames.values()))
        return version

    async def get(self, key: VersionKey) -> Stored | None:
        """The version, or None."""
        async with self._seeing(str(key.app_id)) as db:
            row = await db.fetchrow(_GET, key.app_id, key.name, key.version)
        if row is None:
            return None
        return Stored(key, row["document"], row["created_at"], row["created_by"], row["source"] or b"")

    async def summaries(self, app_id: int, *, archived: bool = False) -> list[Summary]:
        """The app's templates, by name."""
        async with self._seeing(str(app_id)) as db:
            rows = await db.fetch(_SUMMARIES, app_id, archived)
        return [
            Summary(
                row["name"], row["published_version"], row["latest_version"], tuple(row["locales"]), row["archived_at"]
            )
            for row in rows
        ]

    async def versions(self, app_id: int, name: str, *, before: int, most: int) -> list[Listed]:
        """Versions below `before` (0: all), newest first."""
        async with self._seeing(str(app_id)) as db:
            rows = await db.fetch(_VERSIONS, app_id, name, before, most)
        return [
            Listed(
                row["version"],
                row["created_at"],
                row["created_by"],
                tuple(row["locales"]),
                row["published"],
                row["published_at"],
                row["published_by"],
            )
            for row in rows
        ]

    async def publish(self, key: VersionKey, by: str) -> bool:
        """False if there is no such version."""
        async with self._seeing(str(key.app_id)) as db:
            if await db.fetchrow(_STORED, key.app_id, key.name, key.version) is None:
                return False
            await self._publish(db, key, by)
            return True

    async def archive(self, app_id: int, name: str, *, restore: bool) -> bool:
        """False if there is no such template."""
        async with self._seeing(str(app_id)) as db:
            found = await db.fetchval(_ARCHIVE, app_id, name, restore) is not None
            if found:
                after = {"archived": not restore}
                await audit_log.record(db, "ArchiveTemplate", app_id, f"template {name}", after=after)
            return found

    async def used_by(self, app_id: int, name: str, *, most: int) -> list[Use]:
        """Schedules that have not ended, by name; then broadcasts that have not been planned."""
        async with self._seeing(str(app_id)) as db:
            rows = await db.fetch(_USED_BY, app_id, name, most)
        return [Use(row["schedule"], row["broadcast_id"], row["paused"]) for row in rows]

    async def published(self, names: Sequence[tuple[int, str]]) -> list[Current]:
        """The versions of each, in one statement."""
        async with self._seeing(_ALL_APPS) as db:
            rows = await db.fetch(_PUBLISHED, [app_id for app_id, _ in names], [name for _, name in names])
        return [Current(row["published"], row["latest"], row["archived"]) for row in rows]

    async def put_partial(self, app_id: int, partial: Partial, by: str) -> int:
        """One transaction; an advisory lock of the name numbers its versions."""
        document = partial.SerializeToString(deterministic=True)
        async with self._seeing(str(app_id)) as db:
            await db.execute(_PARTIAL_LOCK, app_id, partial.name)
            newest = await db.fetchrow(_PARTIALS, app_id, [partial.name], [0])
            if newest is not None and newest["document"] == document:
                return int(newest["version"])
            version = int(newest["version"]) + 1 if newest is not None else 1
            await db.execute(_PUT_PARTIAL, app_id, partial.name, version, document, by)
            await audit_log.record(db, "PutPartial", app_id, f"partial {partial.name}", after={"version": version})
            return version

    async def partials(self, app_id: int, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Partial]:
        """Those there are, by name and version as asked (0: the newest)."""
        names = list(wanted)
        async with self._seeing(str(app_id)) as db:
            rows = await db.fetch(_PARTIALS, app_id, [name for name, _ in names], [version for _, version in names])
        found: dict[tuple[str, int], Partial] = {}
        for row in rows:
            partial = Partial.FromString(row["document"])
            partial.version = row["version"]
            partial.created_by = row["created_by"]
            partial.created_at.FromDatetime(row["created_at"])
            found[row["name"], row["wanted"]] = partial
        return found

    async def partial_names(self, app_id: int) -> list[tuple[str, int]]:
        """Name and newest version, by name."""
        async with self._seeing(str(app_id)) as db:
            rows = await db.fetch(
                "SELECT name, max(version) AS version FROM template.partial WHERE app_id = $1 GROUP BY name ORDER BY name",
                app_id,
            )
        return [(row["name"], row["version"]) for row in rows]

    @asynccontextmanager
    async def _seeing(self, app: str) -> AsyncIterator[Connection]:
        async with connection(self._pool) as db, db.transaction():
            await db.execute("SELECT set_config('clarion.app', $1, true)", app)
            yield db
