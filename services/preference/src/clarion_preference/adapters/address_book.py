"""Batches of the planner and the dispatchers, one statement each."""

from collections.abc import Iterable, Sequence

from asyncpg.pgproto.pgproto import UUID

from clarion_ledger.db import Pool, connection
from clarion_preference.adapters.documents import from_document
from clarion_preference.recipients import (
    DEFAULT_LOCALE,
    DEFAULT_TIME_ZONE,
    DeadAddress,
    Reachable,
    SealedAddress,
    Sought,
)
from clarion_preference.suppressions import SuppressionReason

MAX_USED = 64
"""Addresses of a recipient that are used: the newest ones. Devices that fell silent must not pile up without end."""

_REACHABLE = f"""
SELECT q.position, r.merged_into, r.locale, r.time_zone, r.country, r.wishes, r.revision,
       a.channel, uuid_send(a.address_id) AS address_id, a.sealed, a.hint,
       (SELECT s.reason FROM preference.suppression s WHERE s.address_id = a.address_id AND s.listed
        ORDER BY s.reason LIMIT 1) AS suppressed
FROM unnest($1::int4[], $2::uuid[], $3::int4[]) WITH ORDINALITY AS q (app_id, recipient_ref, channels, position)
JOIN preference.recipient r ON r.app_id = q.app_id AND r.recipient_ref = q.recipient_ref AND r.erased_at IS NULL
LEFT JOIN LATERAL (
    SELECT a.* FROM preference.address a
    WHERE a.app_id = q.app_id AND a.recipient_ref = q.recipient_ref AND a.status = 1 AND q.channels & (1 << a.channel) <> 0
    ORDER BY a.registered_at DESC, a.address_id LIMIT {MAX_USED}
) a ON true
"""


class PostgresAddressBook:
    """`ports.AddressBook` on the schema `preference`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def reachable(self, sought: Sequence[Sought]) -> list[Reachable | None]:
        found, merged = await self._reachable(sought)
        if merged:
            # Who was merged is seldom asked for: a second look costs the others nothing, a join would.
            meant = [sought[place]._replace(recipient_ref=ref) for place, ref in merged.items()]
            for place, one in zip(merged, (await self._reachable(meant))[0], strict=True):
                found[place] = one
        return found

    async def _reachable(self, sought: Sequence[Sought]) -> tuple[list[Reachable | None], dict[int, bytes]]:
        """What was found; and of aliases, by their position, whom they mean."""
        async with connection(self._pool) as db:
            rows = await db.fetch(
                _REACHABLE,
                [one.app_id for one in sought],
                [UUID(one.recipient_ref) for one in sought],
                [_bits(one.channels) for one in sought],
            )
        found: list[Reachable | None] = [None] * len(sought)
        merged: dict[int, bytes] = {}
        for row in rows:
            position, into, locale, time_zone, country, wishes, revision, channel, address_id, sealed, hint, why_not = (
                row
            )
            if into is not None:
                merged[position - 1] = into.bytes
                continue
            known = found[position - 1]
            if known is None:
                known = found[position - 1] = Reachable(
                    locale or DEFAULT_LOCALE,
                    time_zone or DEFAULT_TIME_ZONE,
                    country,
                    from_document(wishes),
                    revision,
                    {},
                )
            if why_not is not None:
                known.suppressed.setdefault(channel, SuppressionReason(why_not))
            elif channel is not None:
                known.addresses.setdefault(channel, []).append(SealedAddress(address_id, sealed, hint))
        return found, merged

    async def report_dead(self, addresses: Sequence[DeadAddress]) -> int:
        async with connection(self._pool) as db:
            disabled: int = await db.fetchval(
                "SELECT preference.report_dead($1, $2, $3)",
                [address.app_id for address in addresses],
                [address.address_id for address in addresses],
                [address.dead_since for address in addresses],
            )
        return disabled


def _bits(channels: Iterable[int]) -> int:
    """Bit n for channel n."""
    bits = 0
    for channel in channels:
        bits |= 1 << channel
    return bits
