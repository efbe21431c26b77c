"""The compact gate record that rests with each delivery (clarion.notification.v1.GateTrail)."""

from collections.abc import Sequence

from clarion.notification.v1.state_pb2 import GateRecord, GateTrail
from clarion_kit.vocabulary import Gate
from clarion_planner.domain import GateNote

MAX_RULE_BYTES = 128


def trail(reached: Gate, notes: Sequence[GateNote]) -> bytes:
    """Serialised; empty where every gate simply passed. `reached`: the last gate looked at."""
    if not notes and reached is Gate.CAPS:
        return b""
    passed = reached - 1 if any(note.gate is reached for note in notes) else reached
    return GateTrail(
        passed_up_to=passed,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        records=[_record(note) for note in notes],
    ).SerializeToString()


def _record(note: GateNote) -> GateRecord:
    return GateRecord(
        gate=note.gate,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        verdict=note.verdict,  # type: ignore[arg-type]
        reason=note.reason or 0,  # type: ignore[arg-type]
        rule=note.rule.encode()[:MAX_RULE_BYTES].decode(errors="ignore"),
    )
