"""What a run comes to: a table, every escape by name, and the one line of JSON a machine reads."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from clarion_kit import mesh

from .finding import Finding

CASES = 5
"""At least, of each RPC in the matrix."""
FIRST_KEYS = ("rpc_matrix", "ssrf", "template", "header", "token_mutations")
CANARY = "canary"


def minimums() -> Mapping[str, int]:
    """How often a whole run must try for its silence to prove anything, by attack."""
    rpcs = len(mesh.public_methods()) + sum(len(service.methods) for service in mesh.internal_services())
    return {"rpc_matrix": CASES * rpcs, "ssrf": 200, "template": 100, "header": 100, "token_mutations": 10_000}


@dataclass(slots=True)
class Report:
    """Findings of one run. `minimums`: what must be reached; empty for a part or the short form."""

    seed: int
    minimums: Mapping[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Attacks that could not be made, with the reason."""

    def tries(self, name: str) -> int:
        return sum(finding.tries for finding in self.findings if finding.name == name)

    def escapes(self) -> Sequence[str]:
        """Those of all attacks but the canary's, whose hits are told apart."""
        return [escape for finding in self.findings if finding.name != CANARY for escape in finding.escapes]

    def hits(self) -> Sequence[str]:
        """Where something personal was found that should not be there."""
        return [escape for finding in self.findings if finding.name == CANARY for escape in finding.escapes]

    def faults(self) -> Iterator[str]:
        """Why the run is no success; none: it is one."""
        yield from self.broken
        yield from self.escapes()
        yield from self.hits()
        for name, least in self.minimums.items():
            if self.tries(name) < least:
                yield f"{name}: only {self.tries(name)} of {least} tries"

    def table(self) -> Iterator[str]:
        """A row for each attack, its figures below."""
        yield f"{'attack':<18}{'tries':>9}{'escapes':>9}"
        for finding in self.findings:
            yield f"{finding.name:<18}{finding.tries:>9,}{len(finding.escapes):>9}"
            for note, value in finding.notes.items():
                yield f"    {note} = {value}"

    def line(self) -> str:
        """The last line of the run."""
        names = dict.fromkeys((*FIRST_KEYS, *(finding.name for finding in self.findings)))
        first = {name: self.tries(name) for name in FIRST_KEYS}
        others = {name: self.tries(name) for name in names if name not in FIRST_KEYS}
        told = {**first, "escapes": len(self.escapes()), "canary_hits": len(self.hits())}
        return json.dumps({**told, **others, "broken": len(self.broken), "seed": self.seed})
