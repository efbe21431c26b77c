"""What is limited and what is answered; times are whole microseconds.

Two algorithms, the same in Valkey (adapters/take.lua) and in process (local.py):

WINDOW keeps the ids that were taken within a sliding window. It is open while there are fewer than `limit`, or for an
id that it holds: taking twice with one id counts once.

GCRA (ITU-T I.371, in its leaky-bucket form) keeps a level that a take raises by `window` and each microsecond lowers by
`limit`, down to 0; it is open while the level after the take is at most `burst * window`. Whole numbers, so nothing is
lost to rounding while limit * window stays below 2**53.
"""

from dataclasses import dataclass
from enum import IntEnum


class Algorithm(IntEnum):
    """Numbers are those of the contract."""

    WINDOW = 1
    GCRA = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `limit` within `window_us`; `burst` (GCRA, ≥ 1): how many at once."""

    key: str
    algorithm: Algorithm
    limit: int
    window_us: int
    burst: int

    @property
    def name(self) -> str:
        """What its state is kept under: one key may be limited over several windows."""
        if self.algorithm is Algorithm.WINDOW:
            return f"w{self.window_us}:{self.key}"
        return f"g{self.window_us}/{self.limit}:{self.key}"


@dataclass(frozen=True, slots=True)
class Item:
    """A taker and its limits, whose keys differ: it takes from all of them or from none. `id`: 16 bytes."""

    app_id: int
    id: bytes
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """`closed_limit` is the first limit that is closed, None when allowed; `lefts` is what is left of each limit, empty where one
    is closed."""

    closed_limit: int | None
    retry_after_us: int
    lefts: tuple[int, ...]
    unchecked: bool = False

    @property
    def remaining(self) -> int:
        """Of the tightest limit."""
        return min(self.lefts, default=0)

    @property
    def allowed(self) -> bool:
        return self.closed_limit is None
