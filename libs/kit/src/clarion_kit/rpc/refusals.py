"""Who tried what they may not: in the log, but never so often that the log is the damage."""

import logging
import time
from collections.abc import Callable

from clarion_kit.errors import ErrorReason

log = logging.getLogger(__name__)

MOST = 60
SPAN_SECONDS = 60.0


class Refusals:
    """Logs the first `MOST` refusals of each minute one by one, and how many more there were."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = float("-inf")
        self._noted = 0

    def note(self, caller: str, method: str, reason: ErrorReason) -> None:
        """`caller`: the id of a key, or the daemon in a certificate."""
        now = self._now()
        if now >= self._until:
            if self._noted > MOST:
                log.warning("refused %d more calls in a minute", self._noted - MOST)
            self._until, self._noted = now + SPAN_SECONDS, 0
        self._noted += 1
        if self._noted <= MOST:
            log.warning("refused", extra={"caller": caller, "method": method, "reason": reason.name})
