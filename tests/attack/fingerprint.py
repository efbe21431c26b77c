"""What an app has in the database, table by table: a count and a digest of its rows, to be compared before and after."""

from collections.abc import Mapping
from dataclasses import dataclass

from clarion_ledger.db import Pool

MOVES_BY_ITSELF = frozenset(
    {
        "ledger.app_key_use",  # when a key was last used, written every half minute
        "ledger.incident",  # a monitor tells of the victim's dead letter
        "ledger.incident_notice",
        "ledger.lane_quality",
        "ledger.receipt_tally",
        "ledger.webhook_progress",
        "tracking.rollup_hour",  # statistics follow events minutes later
        "tracking.rollup_day",
        "tracking.rollup_week",
        "tracking.reason_hour",
        "tracking.reason_day",
        "tracking.reason_week",
        "tracking.segment",
    }
)
"""Tables in which daemons write about an app that does nothing."""

_TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('ledger', 'preference', 'template', 'tracking') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'app_id' AND NOT a.attisdropped)
ORDER BY 1
"""

_OF_OTHERS: Mapping[str, str] = {
    "ledger.notification_body": "t.id IN (SELECT id FROM ledger.notification WHERE app_id = $1)",
    "ledger.delivery_body": "t.id IN (SELECT id FROM ledger.delivery WHERE app_id = $1)",
    "ledger.attempt": "t.delivery_id IN (SELECT id FROM ledger.delivery WHERE app_id = $1)",
}
"""Tables whose rows belong to an app by way of another table."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Count and digest of an app's rows, by table."""

    tables: Mapping[str, tuple[int, str]]

    @property
    def rows(self) -> int:
        return sum(count for count, _ in self.tables.values())

    @property
    def filled_tables(self) -> int:
        """In how many tables it has rows at all."""
        return sum(count > 0 for count, _ in self.tables.values())

    def differences(self, later: "Fingerprint") -> list[str]:
        """A line for each table that is not as it was."""
        return [
            f"{table}: {before[0]} rows became {later.tables[table][0]}, or others"
            for table, before in self.tables.items()
            if later.tables[table] != before
        ]


async def fingerprint(pool: Pool, app_id: int) -> Fingerprint:
    """Of every table that has rows of apps; `pool` must see them all (a superuser's)."""
    conditions = dict(_OF_OTHERS)
    for row in await pool.fetch(_TABLES):
        if row[0] not in MOVES_BY_ITSELF:
            conditions[row[0]] = "t.app_id = $1"
    found: dict[str, tuple[int, str]] = {}
    for table, condition in conditions.items():
        counted = await pool.fetchrow(
            f"""SELECT count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), ''))
                FROM {table} t WHERE {condition}""",
            app_id,
        )
        if counted is None:
            raise LookupError(table)
        found[table] = (counted[0], counted[1])
    return Fingerprint(found)
