"""How often a scripted fault strikes: a share, a count, a time at which it ends."""

import random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Chance(BaseModel):
    """The part that every rule of a fault script has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of what the rule concerns that it strikes."""
    times: Annotated[int, Field(ge=1)] | None = None
    """How often it strikes before it is spent; None = without end."""
    until: float | None = None
    """Unix seconds after which the rule is void; None = until replaced."""
    seed: int = 0
    """Seed of its dice: the same script strikes the same requests."""


class Strikes:
    """A rule's dice and what is left of its count."""

    def __init__(self, chance: Chance) -> None:
        self._ratio = chance.ratio
        self._left = chance.times
        self._dice = random.Random(chance.seed)

    def strike(self) -> bool:
        """Whether it strikes this time; counts it if so."""
        if self._left == 0:
            return False
        if self._ratio < 1 and self._dice.random() >= self._ratio:
            return False
        if self._left is not None:
            self._left -= 1
        return True
