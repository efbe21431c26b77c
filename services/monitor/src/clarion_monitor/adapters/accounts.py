"""Provider accounts from the ledger: how they stand, what they answered, how well SMS accounts deliver."""

from datetime import timedelta

import asyncpg

from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Pool, connection
from clarion_monitor.accounts import AccountsLook, AccountState, Answers, Quality, state_of
from clarion_monitor.causes import Account

EVENTS_READ = 20_000
"""Latest events whose answers are counted. At a few sends a second these are all of the window, in a storm those of the last
seconds: a share needs no more."""
MOST_ACCOUNTS = 500
MOST_QUALITIES = 1_000

_STATES = """
SELECT a.name AS app, l.name, l.channel, l.kind, l.enabled, s.reason
FROM ledger.lane l JOIN ledger.app a ON a.app_id = l.app_id LEFT JOIN ledger.lane_stop s ON s.lane_id = l.lane_id
WHERE l.deleted_at IS NULL
ORDER BY s.reason IS NULL, l.lane_id LIMIT $1
"""

# By the key of the feed, newest first, so that what is read is bounded however many there are; whole days, as partitions are,
# so that no partition is read for rows that are too old. Kinds: 4 an attempt that is repeated, 5 an end (20 sent, 21 failed,
# 25 dead letter). Of what failed, 42 (ambiguous) is the provider's trouble, 41 a dead address, the rest the message's own.
_ANSWERS = """
SELECT e.app_id, e.lane_id, a.name AS app, l.name, l.channel,
       count(*) FILTER (WHERE e.trouble) AS failed, count(*) FILTER (WHERE e.dead) AS dead, count(*) AS total
FROM (
    SELECT r.app_id, r.lane_id, coalesce(r.reason = 41, false) AS dead,
           r.kind = 4 OR r.state = 25 OR coalesce(r.reason = 42, false) AS trouble
    FROM (
        SELECT e.at, e.app_id, e.lane_id, e.kind, e.state, e.reason FROM ledger.event e
        WHERE e.at >= date_trunc('day', now(), 'UTC') - interval '1 day'
        ORDER BY e.xid DESC, e.seq DESC LIMIT $2
    ) r
    WHERE r.at > now() - $1::interval AND (r.kind = 4 OR (r.kind = 5 AND r.state IN (20, 21, 25)))
) e
JOIN ledger.lane l ON l.lane_id = e.lane_id JOIN ledger.app a ON a.app_id = l.app_id
GROUP BY e.app_id, e.lane_id, a.name, l.name, l.channel
ORDER BY total DESC LIMIT $3
"""
_QUALITY = """
SELECT l.app_id, q.lane_id, a.name AS app, l.name, l.channel, q.country, q.factor
FROM ledger.lane_quality q JOIN ledger.lane l ON l.lane_id = q.lane_id JOIN ledger.app a ON a.app_id = l.app_id
WHERE l.deleted_at IS NULL
ORDER BY q.factor, q.lane_id, q.country LIMIT $1
"""


class AccountsView:
    """Reads, never writes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def look(self, window: timedelta) -> AccountsLook:
        async with connection(self._pool) as db:
            states = await db.fetch(_STATES, MOST_ACCOUNTS)
            answers = await db.fetch(_ANSWERS, window, EVENTS_READ, MOST_ACCOUNTS)
            quality = await db.fetch(_QUALITY, MOST_QUALITIES)
        return AccountsLook(
            [_state(row) for row in states],
            [
                Answers(
                    _account(row),
                    row["app"],
                    row["name"],
                    good=row["total"] - row["failed"] - row["dead"],
                    failed=row["failed"],
                    dead=row["dead"],
                )
                for row in answers
            ],
            [Quality(_account(row), row["app"], row["name"], row["country"], row["factor"]) for row in quality],
        )


def _state(row: asyncpg.Record) -> AccountState:
    state = state_of(row["reason"], enabled=row["enabled"])
    return AccountState(row["app"], row["name"], Channel(row["channel"]), row["kind"], state)


def _account(row: asyncpg.Record) -> Account:
    return Account(row["app_id"], row["lane_id"], Channel(row["channel"]))
