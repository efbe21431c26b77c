"""Which faults strike, in which order: drawn from a seed, every row at least once, independent ones together. No I/O."""

from collections import Counter
from collections.abc import Sequence
from random import Random

from .faults.base import Fault


def drawn(faults: Sequence[type[Fault]], count: int, random: Random) -> list[type[Fault]]:
    """`count` faults in random order: each at least once if there are so many, the others by their share.

    Raises ValueError when not even every row fits.
    """
    rows = {fault.row for fault in faults}
    if count < len(rows):
        raise ValueError(f"{count} faults cannot cover {len(rows)} rows")
    order = sorted(faults, key=lambda fault: (fault.row, fault.name))
    once = order if count >= len(order) else _one_of_each_row(order, count, random)
    more = random.choices(order, [fault.share for fault in order], k=count - len(once))
    chosen = [*once, *more]
    random.shuffle(chosen)
    return chosen


def _one_of_each_row(order: Sequence[type[Fault]], count: int, random: Random) -> list[type[Fault]]:
    shuffled = random.sample(order, len(order))
    first = {fault.row: fault for fault in reversed(shuffled)}
    rest = [fault for fault in shuffled if first[fault.row] is not fault]
    return [*first.values(), *rest][:count]


class Queue:
    """Faults still to come; `take` gives the first whose parts are free."""

    def __init__(self, order: Sequence[type[Fault]]) -> None:
        self._waiting = list(order)
        self._busy: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> type[Fault] | None:
        """The next fault that touches nothing that is touched now; None while there is none."""
        for position, fault in enumerate(self._waiting):
            if not any(self._busy[part] for part in fault.parts):
                self._busy.update(fault.parts)
                return self._waiting.pop(position)
        return None

    def give_back(self, fault: type[Fault]) -> None:
        """A fault is over: its parts are free."""
        self._busy.subtract(fault.parts)
