"""Reads the three records: what callers were told, our ledger, and the sandbox's own."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.db import Pool, connection

from . import shop
from .checker import Evidence, Stored
from .told import Told

_PAGE = 20_000
_TIMEOUT_SECONDS = 120
_NOTIFICATIONS = "SELECT id, event_id FROM ledger.notification WHERE app_id = $1 AND broadcast_id IS NULL"
_DELIVERIES = """
SELECT d.notification_id, d.id, coalesce(w.state, d.state) AS state, d.reason,
       coalesce(w.ambiguous, d.ambiguous) AS ambiguous
FROM ledger.delivery d LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
WHERE d.app_id = $1 AND d.redrive_of IS NULL
"""


async def gather(pool: Pool, app_id: int, sandbox_ledger: Path, told: Mapping[str, Told]) -> Evidence:
    """Everything there is to compare. Raises LedgerUnavailable, OSError, ValueError (a torn sandbox ledger)."""
    stored, children = await _stored(pool, app_id)
    others = (message for message in arrivals(sandbox_ledger) if delivery_of(message["our_id"]) not in children)
    received, foreign = attribute(others, told, stored)
    return Evidence(told, stored, received, foreign)


def attribute(
    taken: Iterator[Mapping[str, str]], told: Mapping[str, Told], stored: Mapping[str, Stored]
) -> tuple[Counter[str], int]:
    """Messages by event, and how many belong to none: by what their reader sees, a mail by its Message-ID."""
    by_digest = {
        (told_one.channel, digest): event_id
        for event_id, told_one in told.items()
        if (digest := shop.digest(event_id, told_one.channel)) is not None
    }
    by_delivery = {one.delivery_id: event_id for event_id, one in stored.items() if one.delivery_id}
    received: Counter[str] = Counter()
    foreign = 0
    for message in taken:
        channel = shop.PROVIDERS[message["provider"]]
        event_id = by_digest.get((channel, message["digest"])) or by_delivery.get(delivery_of(message["our_id"]))
        if event_id is None:
            foreign += 1
        else:
            received[event_id] += 1
    return received, foreign


async def _stored(pool: Pool, app_id: int) -> tuple[dict[str, Stored], set[str]]:
    """What the ledger says of each event; and deliveries of broadcasts' children, which have none and are judged elsewhere."""
    async with connection(pool) as db:
        await db.execute(f"SET statement_timeout = '{_TIMEOUT_SECONDS}s'")
        notifications = await db.fetch(_NOTIFICATIONS, app_id, timeout=_TIMEOUT_SECONDS)
        deliveries = await db.fetch(_DELIVERIES, app_id, timeout=_TIMEOUT_SECONDS)
    planned = Counter(row["notification_id"] for row in deliveries)
    found = {row["id"]: Stored(str(row["id"])) for row in notifications}
    children = {str(row["id"]) for row in deliveries if row["notification_id"] not in found}
    for row in deliveries:
        if row["notification_id"] not in found:
            continue
        found[row["notification_id"]] = Stored(
            str(row["notification_id"]),
            str(row["id"]),
            DeliveryState(row["state"]),
            Reason(row["reason"]) if row["reason"] else None,
            row["ambiguous"],
            planned[row["notification_id"]],
        )
    return {row["event_id"]: found[row["id"]] for row in notifications}, children


def arrivals(sandbox_ledger: Path) -> Iterator[Mapping[str, str]]:
    """Messages that a provider of the sandbox took."""
    with sandbox_ledger.open("rb") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["accepted"]:
                yield entry


def delivery_of(our_id: str) -> str:
    """The delivery in a Message-ID."""
    return our_id.strip("<>").partition("@")[0]
