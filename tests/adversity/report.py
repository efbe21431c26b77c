"""What a run comes to: complaints in words, and the one line of JSON a machine reads."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from .checker import Verdict
from .storm import Log


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must have happened for a run to prove anything."""

    faults: int
    kinds: int
    accepted: int
    negative_controls: bool


@dataclass(slots=True)
class Report:
    """Everything the parts of a run found."""

    seed: int
    wanted: Wanted
    log: Log = field(default_factory=Log)
    accepted: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    negative_controls: dict[str, bool] = field(default_factory=dict)
    """Name → whether it lost, as it must."""
    untested: list[str] = field(default_factory=list)
    """What this machine does not allow, with the reason."""

    def faults(self) -> Iterator[str]:
        """Why the run is no success; none: it is one."""
        yield from self.complaints
        for verdict in self.verdicts:
            yield from verdict.complaints()
        yield from self.log.violations
        if self.log.faults < self.wanted.faults:
            yield f"only {self.log.faults} of {self.wanted.faults} faults struck; {len(self.log.silent)} left no trace"
        if len(self.log.rows) < self.wanted.kinds:
            yield f"only {len(self.log.rows)} of {self.wanted.kinds} rows were covered"
        if self.accepted < self.wanted.accepted:
            yield f"only {self.accepted} of {self.wanted.accepted} were accepted"
        if self.wanted.negative_controls and not self.negative_controls:
            yield "no negative control could run"
        for name, lost in self.negative_controls.items():
            if not lost:
                yield f"the negative control lost nothing: {name}"

    def line(self) -> str:
        """The last line of the run."""
        return json.dumps(
            {
                "seed": self.seed,
                "faults": self.log.faults,
                "kinds": len(self.log.rows),
                "accepted": self.accepted,
                "lost": sum(verdict.lost for verdict in self.verdicts),
                "duplicates": sum(len(verdict.duplicates) for verdict in self.verdicts),
                "unflagged_duplicates": sum(len(verdict.unflagged) for verdict in self.verdicts),
                "max_recovery_seconds": round(max(self.log.recovery_seconds.values(), default=0.0), 1),
                "negative_controls_lost": bool(self.negative_controls) and all(self.negative_controls.values()),
            }
        )
