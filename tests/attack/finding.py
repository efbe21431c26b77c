"""What an attack says of itself: how often it tried, what got through, what it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Size(Enum):
    """How much of an attack is made: a few seconds of it among the tests, or all of it."""

    SHORT = "short"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Finding:
    """One attack's result. `name` is its key in the last line of the run; `notes` are measured figures, units in the name."""

    name: str
    tries: int
    escapes: Sequence[str] = ()
    """What got through, one line each; none: the attack failed, as it must."""
    notes: Mapping[str, float | int | str] = field(default_factory=dict)
