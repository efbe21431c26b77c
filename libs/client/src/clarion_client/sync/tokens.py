"""The token of a sync client: issued once, renewed ahead, one request at a time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from clarion_client._status import out_of_time
from clarion_client._token import REFRESH_PAUSE, Token
from clarion_client.errors import ClarionError, DeadlineExceeded


class SyncTokens:
    """The first thread that needs a token asks for it, within its own time; others wait for that answer, or go on with
    the old token while it serves."""

    def __init__(self, issue: Callable[[float], Token], now: Callable[[], float] = time.monotonic) -> None:
        self._issue = issue
        self._now = now
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._flight: Future[Token] | None = None
        self._no_refresh_before = 0.0

    def get(self, remaining_seconds: Callable[[], float]) -> Token:
        """A token that should be valid. Raises what IssueToken raises, DeadlineExceeded."""
        while True:
            with self._lock:
                now = self._now()
                usable = self._token if self._token is not None and now < self._token.ends_at else None
                if usable is not None and (
                    self._flight is not None or now < max(usable.refresh_at, self._no_refresh_before)
                ):
                    return usable
                flight = self._flight
                if flight is None:
                    own: Future[Token] = Future()
                    self._flight = own
                    self._no_refresh_before = now + REFRESH_PAUSE.total_seconds()
            if flight is None:
                return self._fly(own, usable, remaining_seconds())
            try:
                return flight.result(remaining_seconds())
            except TimeoutError:
                raise out_of_time("a token") from None
            except CancelledError:
                continue
            except DeadlineExceeded:
                # The asking thread's time was shorter than ours.
                if remaining_seconds() <= 0.0:
                    raise

    def reject(self, refused: Token) -> None:
        """The server did not take `refused`: forget it, unless it was replaced meanwhile."""
        with self._lock:
            if self._token is refused:
                self._token = None

    def _fly(self, flight: "Future[Token]", usable: Token | None, timeout_seconds: float) -> Token:
        try:
            token = self._issue(timeout_seconds)
            with self._lock:
                self._token = token
            flight.set_result(token)
        except ClarionError as error:
            flight.set_exception(error)
            if usable is None:
                raise
            return usable
        finally:
            with self._lock:
                self._flight = None
            # Has no effect on an answered flight; an interrupted one leaves the asking to whoever waits.
            flight.cancel()
        return token
