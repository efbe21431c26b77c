"""Topics and audiences in Postgres: each walked by an index in the order of the references."""

from collections.abc import Sequence
from uuid import UUID

from clarion_ledger.db import Connection, Pool, connection, of_app
from clarion_preference.adapters import intersection
from clarion_preference.adapters.references import REQUEST_ROLE, not_found, reference
from clarion_preference.audiences import Audience, Condition, Page

COUNTED = 10_000
"""Up to here an audience is counted, beyond it is estimated from the database's statistics."""

_ALL = """
SELECT uuid_send(r.recipient_ref) FROM preference.recipient r
WHERE r.app_id = $1 AND r.recipient_ref > $2 AND r.created_at <= $3 AND r.merged_into IS NULL AND r.erased_at IS NULL
ORDER BY r.recipient_ref LIMIT $4
"""
_TOPIC = """
SELECT uuid_send(m.recipient_ref) FROM preference.topic_member m
WHERE m.app_id = $1 AND m.recipient_ref > $2 AND m.since <= $3 AND m.topic = $5
ORDER BY m.recipient_ref LIMIT $4
"""
# Each value has its own place in the index, in order: as many merged walks as values, none of them sorted.
_FILTERED = """
SELECT uuid_send(m.recipient_ref) FROM unnest($6::text[]) AS v (value) CROSS JOIN LATERAL (
    SELECT a.recipient_ref FROM preference.attribute a
    WHERE a.app_id = $1 AND a.key = $5 AND a.value = v.value AND a.recipient_ref > $2 AND a.since <= $3
    ORDER BY a.recipient_ref LIMIT $4
) m ORDER BY m.recipient_ref LIMIT $4
"""
_COUNT_ALL = """
SELECT count(*) FROM (
    SELECT FROM preference.recipient r
    WHERE r.app_id = $1 AND r.merged_into IS NULL AND r.erased_at IS NULL LIMIT $2
) one
"""
_COUNT_TOPIC = """
SELECT count(*) FROM (SELECT FROM preference.topic_member m WHERE m.app_id = $1 AND m.topic = $3 LIMIT $2) one
"""
_COUNT_CONDITION = """
SELECT count(*) FROM (
    SELECT FROM preference.attribute a WHERE a.app_id = $1 AND a.key = $3 AND a.value = ANY ($4) LIMIT $2
) one
"""
_ESTIMATE = "SELECT preference.estimate($1, $2, $3, $4)"
_SUBSCRIBERS = "SELECT count(*) FROM preference.topic_member WHERE app_id = $1 AND topic = $2"
_TOPICS_OF = """
SELECT r.recipient_ref IS NOT NULL AS known, t.topic
FROM (SELECT preference.meant($1, $2) AS recipient_ref) r
LEFT JOIN LATERAL (
    SELECT m.topic FROM preference.topic_member m
    WHERE m.app_id = $1 AND m.recipient_ref = r.recipient_ref AND m.topic > $3 ORDER BY m.topic LIMIT $4
) t ON true
"""


class PostgresTopics:
    """`ports.Topics` on the schema `preference`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def subscribe(self, app_id: int, topic: str, recipient_ids: Sequence[str]) -> tuple[int, list[int]]:
        refs = [reference(app_id, recipient_id) for recipient_id in recipient_ids]
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            [(added, unknown)] = await db.fetch(
                "SELECT added, unknown FROM preference.subscribe($1, $2, $3)", app_id, topic, refs
            )
        return added, [position - 1 for position in unknown]

    async def unsubscribe(self, app_id: int, topic: str, recipient_ids: Sequence[str]) -> int:
        refs = [reference(app_id, recipient_id) for recipient_id in recipient_ids]
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            removed: int = await db.fetchval("SELECT preference.unsubscribe($1, $2, $3)", app_id, topic, refs)
        return removed

    async def count(self, app_id: int, topic: str) -> int:
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            count: int = await db.fetchval(_SUBSCRIBERS, app_id, topic)
        return count

    async def topics_of(self, app_id: int, recipient_id: str, limit: int, after: str) -> list[str]:
        async with of_app(self._pool, app_id, REQUEST_ROLE) as db:
            rows = await db.fetch(_TOPICS_OF, app_id, reference(app_id, recipient_id), after, limit)
        if not rows[0]["known"]:
            raise not_found(recipient_id)
        return [row["topic"] for row in rows if row["topic"] is not None]


class PostgresAudiences:
    """`ports.Audiences` on the schema `preference`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, app_id: int, page: Page) -> list[bytes]:
        common = (app_id, UUID(bytes=page.after), page.as_of, page.size)
        async with connection(self._pool) as db:
            if page.audience.topic:
                rows = await db.fetch(_TOPIC, *common, page.audience.topic)
            elif len(page.audience.conditions) == 1:
                [only] = page.audience.conditions
                rows = await db.fetch(_FILTERED, *common, only.key, only.values)
            elif page.audience.conditions:
                sizes = [(await _size_of(db, app_id, one), one) for one in page.audience.conditions]
                return await intersection.page_of(db, app_id, page, sizes)
            else:
                rows = await db.fetch(_ALL, *common)
        return [row[0] for row in rows]

    async def estimate(self, app_id: int, audience: Audience) -> int:
        async with connection(self._pool) as db:
            if audience.conditions:
                return min([await _size_of(db, app_id, condition) for condition in audience.conditions])
            if audience.topic:
                counted: int = await db.fetchval(_COUNT_TOPIC, app_id, COUNTED + 1, audience.topic)
            else:
                counted = await db.fetchval(_COUNT_ALL, app_id, COUNTED + 1)
            return await _beyond(db, counted, app_id, audience.topic or None, None, None)


async def _size_of(db: Connection, app_id: int, condition: Condition) -> int:
    counted: int = await db.fetchval(_COUNT_CONDITION, app_id, COUNTED + 1, condition.key, condition.values)
    return await _beyond(db, counted, app_id, None, condition.key, condition.values)


async def _beyond(
    db: Connection, counted: int, app_id: int, topic: str | None, key: str | None, values: Sequence[str] | None
) -> int:
    """What was counted where all of it was, else what the statistics say."""
    if counted <= COUNTED:
        return counted
    estimated: int = await db.fetchval(_ESTIMATE, app_id, topic, key, values)
    return max(counted, estimated)
