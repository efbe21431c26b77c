"""The segments that one planner may still spend of a budget. No I/O."""

from dataclasses import dataclass
from datetime import timedelta

from clarion_ledger.budgets import Ask, Slice, SmsBudgetState


@dataclass(slots=True)
class Purse:
    """What is left of the slices of one budget, and what went on without one (`debt`).

    Moments are monotonic seconds. `exhausted`: the ledger had less than was asked for.
    """

    budget_id: int
    generation: int = 0
    left: int = 0
    ends_at: float = 0.0
    debt: int = 0
    spent_since_refresh: int = 0
    exhausted: bool = False

    def covers(self, segments: int, now: float) -> bool:
        self._expire(now)
        return self.left >= segments

    def knows_empty(self, now: float) -> bool:
        """Whether asking for more is in vain."""
        self._expire(now)
        return self.exhausted

    def spend(self, segments: int) -> None:
        self.left -= segments
        self.spent_since_refresh += segments

    def owe(self, segments: int) -> None:
        """These went on without a slice."""
        self.debt += segments

    def ask(self, wanted: int) -> Ask:
        """What to ask the ledger for; the debt is told with it."""
        return Ask(self.budget_id, wanted, self.debt)

    def receive(self, asked: Ask, given: Slice, now: float) -> None:
        """Take in the answer to `asked`; what is left of an earlier generation is void."""
        self.left = given.segments + (self.left if given.generation == self.generation else 0)
        self.generation = given.generation
        self.ends_at = now + given.ends_in.total_seconds()
        self.debt -= asked.debt
        if asked.wanted:
            self.exhausted = given.segments < asked.wanted

    def learn(self, state: SmsBudgetState) -> None:
        """What the ledger says now: there may be more again, or a new generation has begun."""
        if state.generation > self.generation:
            self.left = 0
        if state.remaining:
            self.exhausted = False

    def unspent(self) -> Slice:
        """What may be given back."""
        return Slice(self.budget_id, self.generation, self.left, timedelta())

    def _expire(self, now: float) -> None:
        if now >= self.ends_at:
            self.left = 0
            self.exhausted = False
