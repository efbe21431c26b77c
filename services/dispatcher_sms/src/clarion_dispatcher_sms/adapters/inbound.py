"""Raw receipts and inbound messages, stored before the carrier is answered; the tracker applies them."""

from clarion_ledger.config import LaneConfig
from clarion_ledger.db import Pool, connection


class InboundTable:
    """Rows of `tracking.inbound` of one lane."""

    def __init__(self, pool: Pool, lane: LaneConfig) -> None:
        self._pool = pool
        self._lane = lane

    async def store(self, provider: str, kind: str, body: bytes) -> None:
        """Returns after the COMMIT. Raises LedgerUnavailable; the carrier then delivers again."""
        async with connection(self._pool) as db:
            await db.execute(
                "INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body) VALUES ($1, $2, $3, $4, $5)",
                self._lane.app_id,
                self._lane.lane_id,
                provider,
                kind,
                body,
            )
