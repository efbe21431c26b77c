"""Per-app data keys: made with the app, wrapped in the ledger, held by every process that seals and opens."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from clarion_kit.sealing import BLIND_KEY_ID, AppSealer, KeyWrapper, UnknownKek, key_of
from clarion_ledger.db import Connection, LedgerUnavailable, Pool, connection
from clarion_ledger.keks import load_wrapper, new_wrapper_file

__all__ = ("ANNOUNCED", "REFRESH", "KeyAway", "KeyRing", "create_app_keys", "load_wrapper", "new_wrapper_file")

log = logging.getLogger(__name__)

REFRESH = timedelta(seconds=15)
"""How long a process may go on without looking whether keys have come."""
ANNOUNCED = timedelta(seconds=60)
"""How long a new data key only opens before it seals: some looks of every process."""
_AGAIN_SECONDS = 1.0
_ABSENT_SECONDS = 5.0
_MOST_ABSENT = 1_000

_LOAD = """
SELECT key_id, kek_id, wrapped, active_from <= now() AS active,
       CASE WHEN active_from > now() THEN extract(epoch FROM active_from - now())::float8 END AS activates_in
FROM ledger.data_key WHERE app_id = $1
"""


class KeyAway(LedgerUnavailable):
    """A data key is under a key-encryption key that this process was not given yet. What is sealed is whole: later."""

    dependency = "keys"


async def create_app_keys(db: Connection, wrapper: KeyWrapper, app_id: int) -> None:
    """Make the blind key and the first data key of a new app, in the caller's transaction. Raises Unavailable."""
    for key_id in (BLIND_KEY_ID, 1):
        kek_id, wrapped = await wrapper.wrap(app_id, key_id, os.urandom(32))
        await db.execute(
            "INSERT INTO ledger.data_key (app_id, key_id, kek_id, wrapped) VALUES ($1, $2, $3, $4)",
            app_id,
            key_id,
            kek_id,
            wrapped,
        )


@dataclass(frozen=True, slots=True)
class _Held:
    sealer: AppSealer
    generation: int
    until: float
    """When one of its keys begins to seal (monotonic); infinite where none will."""


class KeyRing:
    """Sealers by app, loaded when first needed and again when a key came, went or became active."""

    def __init__(
        self,
        pool: Pool,
        wrapper: KeyWrapper,
        *,
        refresh: timedelta = REFRESH,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._wrapper = wrapper
        self._refresh = refresh.total_seconds()
        self._now = now
        self._held: dict[int, _Held] = {}
        self._loading: dict[int, asyncio.Lock] = {}
        self._absent: dict[tuple[int, int], float] = {}
        self._revision: int | None = None
        self._generation = 0
        self._look_at = now() + self._refresh

    async def sealer(self, app_id: int, *sealed: bytes | None) -> AppSealer:
        """What seals and opens for an app. `sealed`: what is to be opened, so that a key that this process has not met is
        looked for, once in five seconds. Raises LedgerUnavailable, KeyAway, KeyError (no such app), Unsealable (wrong
        key-encryption key)."""
        await self._look()
        held = self._held.get(app_id)
        if held is None:
            return (await self._load(app_id, held)).sealer
        if held.generation != self._generation or held.until <= self._now():
            try:
                held = await self._load(app_id, held)
            except LedgerUnavailable as away:  # what is held goes on: a new key is announced before it seals
                log.warning("keys not looked at again: %s", away)
        news = [one for one in sealed if one is not None and self._is_news(app_id, held.sealer, one)]
        if news:
            held = await self._load(app_id, held)
            for one in news:
                if self._is_news(app_id, held.sealer, one):
                    self._note_absent(app_id, one)
        return held.sealer

    async def _look(self) -> None:
        """Notice, by one cheap read for all apps, that something came since the last look."""
        now = self._now()
        if now < self._look_at:
            return
        # Set before the wait, so that of many callers one looks.
        self._look_at = now + self._refresh
        try:
            async with connection(self._pool) as db:
                revision: int = await db.fetchval("SELECT revision FROM ledger.config_revision")
        except LedgerUnavailable as away:
            self._look_at = now + min(self._refresh, _AGAIN_SECONDS)
            log.warning("keys not looked at again: %s", away)
            return
        if revision != self._revision:
            self._revision = revision
            self._generation += 1

    async def _load(self, app_id: int, former: _Held | None) -> _Held:
        """One load at a time for each app: who waited takes what came meanwhile."""
        lock = self._loading.setdefault(app_id, asyncio.Lock())
        try:
            async with lock:
                held = self._held.get(app_id)
                if held is not None and held is not former:
                    return held
                held = self._held[app_id] = await self._read(app_id)
                return held
        finally:
            if not lock.locked():
                self._loading.pop(app_id, None)

    async def _read(self, app_id: int) -> _Held:
        generation = self._generation
        async with connection(self._pool) as db:
            rows = await db.fetch(_LOAD, app_id)
        if not rows:
            raise KeyError(app_id)
        try:
            keys = {
                row["key_id"]: await self._wrapper.unwrap(app_id, row["key_id"], row["kek_id"], row["wrapped"])
                for row in rows
            }
        except UnknownKek as unknown:
            raise KeyAway(str(unknown)) from unknown
        active = max(row["key_id"] for row in rows if row["active"])
        waits = [row["activates_in"] for row in rows if not row["active"]]
        until = self._now() + min(waits) if waits else float("inf")
        return _Held(AppSealer(app_id, keys, active), generation, until)

    def _is_news(self, app_id: int, sealer: AppSealer, sealed: bytes) -> bool:
        key_id = key_of(sealed)
        if key_id is None or sealer.knows(key_id):
            return False
        return self._absent.get((app_id, key_id), 0.0) <= self._now()

    def _note_absent(self, app_id: int, sealed: bytes) -> None:
        if len(self._absent) >= _MOST_ABSENT:
            self._absent.clear()
        self._absent[(app_id, key_of(sealed) or 0)] = self._now() + _ABSENT_SECONDS
