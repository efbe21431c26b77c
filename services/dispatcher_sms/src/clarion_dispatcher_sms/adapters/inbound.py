"""Raw receipts and inbound messages, stored before the carrier is answered; the tracker applies them."""

from clarion_ledger.config import LaneConfig
from clarion_ledger.db import Pool, connection
from clarion_ledger.keys import KeyRing
from clarion_ledger.receipts import seal_inbound


class InboundTable:
    """Rows of `tracking.inbound` of one lane."""

    def __init__(self, pool: Pool, keys: KeyRing, lane: LaneConfig) -> None:
        self._pool = pool
        self._keys = keys
        self._lane = lane

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        """Returns after the COMMIT. Raises LedgerUnavailable; the carrier then delivers again."""
        sealer = await self._keys.sealer(self._lane.app_id)
        async with connection(self._pool) as db:
            await db.execute(
                "INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body) VALUES ($1, $2, $3, $4, $5)",
                self._lane.app_id,
                self._lane.lane_id,
                provider,
                kind,
                seal_inbound(sealer, self._lane.lane_id, body),
            )
