"""Wishes that are counted: who unsubscribes by a link or by mail appears in the statistics of the app."""

import logging
from uuid import UUID

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.vocabulary import Channel
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, connection
from clarion_tracker.ports import Wishes

log = logging.getLogger(__name__)

_NOTE = "INSERT INTO tracking.unsubscribed (app_id, category_id, channel) VALUES ($1, $2, $3)"


class CountedWishes:
    """`ports.Wishes`. The wish is what matters: that it could not be counted is logged, and harms nobody."""

    def __init__(self, wishes: Wishes, pool: Pool, config: ConfigCache) -> None:
        self._wishes = wishes
        self._pool = pool
        self._config = config

    async def unsubscribe(self, app_id: int, recipient_ref: UUID, category: str, channel: Channel) -> None:
        await self._wishes.unsubscribe(app_id, recipient_ref, category, channel)
        rule = self._config.snapshot.categories.get((app_id, category))
        if rule is None:
            return
        try:
            async with connection(self._pool) as db:
                await db.execute(_NOTE, app_id, rule.category_id, channel)
        except (Unavailable, DomainError):
            log.warning("an unsubscribe was applied and not counted", extra={"app_id": app_id})
