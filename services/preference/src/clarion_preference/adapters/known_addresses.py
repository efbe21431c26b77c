"""A recipient's addresses, opened to be shown masked, or whole for an export."""

from uuid import UUID

import asyncpg

from clarion_kit.sealing import AppSealer
from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Connection
from clarion_preference.adapters.sealed_address import unseal, unseal_facts
from clarion_preference.recipients import AddressStatus, KnownAddress

MAX_SHOWN = 64
"""Addresses that a profile shows: the newest ones."""
_PUSH = frozenset({Channel.IOS, Channel.ANDROID})
"""Channels whose hint says which push service an address is of; a phone's holds digests of its number."""

_ADDRESSES = """
SELECT address_id, channel, sealed, status, registered_at, hint, facts FROM preference.address
WHERE app_id = $1 AND recipient_ref = $2 ORDER BY registered_at DESC, address_id LIMIT $3
"""


async def addresses_of(
    db: Connection, sealer: AppSealer, app_id: int, ref: UUID, *, opened: bool
) -> tuple[KnownAddress, ...]:
    """Those registered last first; all of them if they are to be opened. Raises Unsealable."""
    rows = await db.fetch(_ADDRESSES, app_id, ref, None if opened else MAX_SHOWN)
    return tuple(_known(sealer, row, opened=opened) for row in rows)


def _known(sealer: AppSealer, row: asyncpg.Record, *, opened: bool) -> KnownAddress:
    id_: UUID = row["address_id"]
    channel = Channel(row["channel"])
    address = None if row["sealed"] is None else unseal(sealer, id_, row["sealed"])
    return KnownAddress(
        address_id=id_,
        channel=channel,
        masked="" if address is None else address.masked,
        status=AddressStatus(row["status"]),
        registered_at=row["registered_at"],
        facts=None if row["facts"] is None else unseal_facts(sealer, id_, row["facts"]),
        push_environment=row["hint"] if channel in _PUSH else "",
        address=address if opened else None,
    )
