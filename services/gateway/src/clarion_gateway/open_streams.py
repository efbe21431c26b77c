"""Streams that clients hold open: how many a key may have, and that those of answers are still allowed."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from clarion_gateway.admission import Admission
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import current_caller
from clarion_kit.rpc.interceptor import Authenticator, Context

MAX_STREAMS_PER_KEY = 16
"""Of answers, on one gateway."""
MAX_SENDING_PER_KEY = 128
"""Of requests, on one gateway: each takes one of the calls that a server answers at once, also while nothing comes."""


class OpenStreams:
    """Counts the streams of one gateway."""

    def __init__(self, door: Authenticator, admission: Admission, *, most: int = MAX_STREAMS_PER_KEY) -> None:
        self._door = door
        self._admission = admission
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self) -> Iterator[None]:
        """One more of the calling key while entered. Raises OVERLOADED."""
        key = current_caller().key
        if self._open[key] >= self._most:
            raise DomainError(ErrorReason.OVERLOADED, f"the key has {self._most} open streams; close one")
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def check(self, method: str, context: Context) -> None:
        """Before every answer: a stream outlives its token and what its key may. Raises as the door, NETWORK_NOT_ALLOWED."""
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        self._door.authenticate(method, metadata, frozenset())
        self._admission.check_network(context)
