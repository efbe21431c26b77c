"""What this gateway knows of keys: whose tokens are dead, from where and how much others may be used, when they were."""

import time
from datetime import UTC, datetime

from clarion_gateway.tokens import Verified, unauthenticated
from clarion_kit.errors import Unavailable
from clarion_ledger import app_keys
from clarion_ledger.app_keys import UNLIMITED, KeyLimits, Standing
from clarion_ledger.db import Pool

BLIND_AFTER_SECONDS = 15.0
"""Without news of revocations for this long no token is believed any more."""


class RevocationsUnknown(Unavailable):
    """The ledger has not told which keys are revoked for too long."""

    dependency = "ledger"


class KeyStandings:
    """Keys as the ledger had them last; `refresh` runs every two seconds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._standing = Standing()
        self._read_at = float("-inf")

    async def refresh(self) -> None:
        """Raises LedgerUnavailable."""
        self._standing = await app_keys.standing(self._pool)
        self._read_at = time.monotonic()

    def check(self, token: Verified) -> None:
        """Raises UNAUTHENTICATED for a token of a dead key or of a secret that is no good any more, RevocationsUnknown when
        nothing was heard for too long."""
        key = token.caller.key
        if key in self._standing.dead or token.secret_version < self._standing.oldest.get(key, 0):
            raise unauthenticated()
        self._require_news()

    async def known(self) -> None:
        """Raises RevocationsUnknown, as long as no token is believed."""
        self._require_news()

    def _require_news(self) -> None:
        if time.monotonic() - self._read_at > BLIND_AFTER_SECONDS:
            raise RevocationsUnknown("revocations unknown")

    def limits(self, app_key: str) -> KeyLimits:
        return self._standing.limits.get(app_key, UNLIMITED)


class KeyUses:
    """Keys that were used since the last `store`, which runs every half minute."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._used: set[str] = set()

    def note(self, app_key: str) -> None:
        self._used.add(app_key)

    async def store(self) -> None:
        """Raises LedgerUnavailable; what was not stored is tried again."""
        used, self._used = self._used, set()
        if not used:
            return
        now = datetime.now(UTC)
        try:
            await app_keys.note_uses(self._pool, dict.fromkeys(sorted(used), now))
        except Unavailable:
            self._used |= used
            raise
