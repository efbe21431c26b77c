"""Who meets several conditions, page by page.

The condition that fewest meet is walked in blocks, in the order of the references. One that not many times more meet is read
over the same stretch of references and intersected with the block, each a walk along one index. One that nearly everybody
meets is looked up for each that is left: to read its whole stretch would be more.
"""

from collections.abc import Sequence
from uuid import UUID

from clarion_ledger.db import Connection
from clarion_preference.audiences import Condition, Page

LOOKED_UP_FROM = 32
"""How many times more must meet a condition than the one that is walked: an entry of a walk costs 0.1-0.2 µs, a look-up
4-6 µs."""
MOST_AT_ONCE = 50_000
"""Entries of one block."""
_SPARE = 1.25

_BLOCK = """
WITH block AS MATERIALIZED (
    SELECT m.recipient_ref FROM unnest($7::text[]) AS v (value) CROSS JOIN LATERAL (
        SELECT a.recipient_ref FROM preference.attribute a
        WHERE a.app_id = $1 AND a.key = $6 AND a.value = v.value AND a.recipient_ref > $2 AND a.since <= $3
        ORDER BY a.recipient_ref LIMIT $4
    ) m ORDER BY m.recipient_ref LIMIT $4
), ends AS MATERIALIZED (
    SELECT b.recipient_ref FROM block b ORDER BY b.recipient_ref DESC LIMIT 1
), met AS (
    SELECT b.recipient_ref FROM block b {walked}
)
SELECT ARRAY(SELECT uuid_send(m.recipient_ref) FROM met m {looked_up} ORDER BY m.recipient_ref LIMIT $5) AS met,
       (SELECT e.recipient_ref FROM ends e) AS ends, (SELECT count(*) FROM block) AS walked
"""
_WALKED = """
    INTERSECT
    SELECT o.recipient_ref FROM preference.attribute o
    WHERE o.app_id = $1 AND o.key = ${key} AND o.value = ANY (${values}::text[]) AND o.since <= $3
      AND o.recipient_ref > $2 AND o.recipient_ref <= (SELECT e.recipient_ref FROM ends e)
"""
_LOOKED_UP = """(
        SELECT true FROM preference.attribute o WHERE o.app_id = $1 AND o.recipient_ref = m.recipient_ref AND o.key = ${key}
        AND o.value = ANY (${values}::text[]) AND o.since <= $3 LIMIT 1
    )"""


async def page_of(db: Connection, app_id: int, page: Page, conditions: Sequence[tuple[int, Condition]]) -> list[bytes]:
    """The next references of those who meet all of `conditions`, each with about how many meet it."""
    (fewest, first), *others = sorted(conditions, key=lambda one: one[0])
    walked = [condition for size, condition in others if size < LOOKED_UP_FROM * fewest]
    looked_up = [condition for size, condition in others if size >= LOOKED_UP_FROM * fewest]
    query = statement(len(walked), len(looked_up))
    arguments = [part for one in (first, *walked, *looked_up) for part in (one.key, one.values)]
    found: list[bytes] = []
    after = UUID(bytes=page.after)
    most = page.size
    while True:
        missing = page.size - len(found)
        row = await db.fetchrow(query, app_id, after, page.as_of, most, missing, *arguments)
        if row is None:
            raise RuntimeError("a statement that always gives a row gave none")
        found += row["met"]
        if len(found) == page.size or row["walked"] < most:
            return found
        after = row["ends"]
        share = max(len(row["met"]), 1) / row["walked"]
        most = min(MOST_AT_ONCE, int((page.size - len(found)) / share * _SPARE) + 1)


def statement(walked: int, looked_up: int) -> str:
    """One block of a first condition, with so many others of either kind; a few dozen at most, each prepared once. The
    parameters: app, after, as of, most of a block, most of the answer, then key and values of each condition."""
    numbers = range(8, 8 + 2 * (walked + looked_up), 2)
    conditions = " AND ".join(_LOOKED_UP.format(key=number, values=number + 1) for number in numbers[walked:])
    return _BLOCK.format(
        walked="".join(_WALKED.format(key=number, values=number + 1) for number in numbers[:walked]),
        looked_up=f"WHERE {conditions}" if conditions else "",
    )
