"""The compact gate record."""

import pytest

from clarion.notification.v1 import state_pb2
from clarion.notification.v1.state_pb2 import GateRecord, GateTrail
from clarion_kit.vocabulary import Gate, Reason, Verdict
from clarion_planner.domain import GateNote
from clarion_planner.gates import MAX_RULE_BYTES, trail


def test_nothing_is_kept_where_every_gate_passed() -> None:
    assert trail(Gate.CAPS, []) == b""


def test_closed_gate_is_recorded_after_those_that_passed() -> None:
    note = GateNote(Gate.WISHES, Verdict.SUPPRESS, Reason.CHANNEL_OFF, "turned off")

    found = GateTrail.FromString(trail(Gate.WISHES, [note]))

    assert found.passed_up_to == state_pb2.GATE_SUPPRESSION_LIST
    assert list(found.records) == [
        GateRecord(
            gate=state_pb2.GATE_WISHES,
            verdict=state_pb2.VERDICT_SUPPRESS,
            reason=state_pb2.REASON_CHANNEL_OFF,
            rule="turned off",
        )
    ]


def test_note_on_an_earlier_gate_leaves_the_last_one_passed() -> None:
    found = GateTrail.FromString(trail(Gate.CAPS, [GateNote(Gate.QUIET_HOURS, Verdict.PASS_UNCHECKED)]))

    assert found.passed_up_to == state_pb2.GATE_CAPS
    assert found.records[0].reason == state_pb2.REASON_UNSPECIFIED


@pytest.mark.parametrize("rule", ["x" * 500, "규칙" * 100])
def test_rule_is_cut_to_whole_characters(rule: str) -> None:
    found = GateTrail.FromString(trail(Gate.CAPS, [GateNote(Gate.CAPS, Verdict.SUPPRESS, Reason.CAPPED, rule)]))

    kept = found.records[0].rule
    assert rule.startswith(kept)
    assert MAX_RULE_BYTES - 3 < len(kept.encode()) <= MAX_RULE_BYTES
