"""Schedules follow their seed, cover every row, and never let two faults touch the same part."""

from random import Random

import pytest

from clarion_client import Channel, Sent

from .faults import EVERY
from .report import Report, Wanted
from .schedule import Queue, drawn
from .told import Register, Told, Word

ROWS = {fault.row for fault in EVERY}


def test_same_seed_gives_the_same_faults_in_the_same_order() -> None:
    assert drawn(EVERY, 100, Random(7)) == drawn(EVERY, 100, Random(7))
    assert drawn(EVERY, 100, Random(7)) != drawn(EVERY, 100, Random(8))


@pytest.mark.parametrize("count", [len(ROWS), len(EVERY), 320])
def test_every_row_is_drawn(count: int) -> None:
    chosen = drawn(EVERY, count, Random(1))

    assert len(chosen) == count
    assert {fault.row for fault in chosen} == ROWS


def test_too_few_faults_for_the_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        drawn(EVERY, len(ROWS) - 1, Random(1))


def test_faults_taken_together_touch_different_parts() -> None:
    queue = Queue(drawn(EVERY, 200, Random(1)))
    taken = []
    while (fault := queue.take()) is not None:
        taken.append(fault)

    parts = [part for fault in taken for part in fault.parts]
    assert len(parts) == len(set(parts))
    before = len(queue)
    for fault in taken:
        queue.give_back(fault)
    assert queue.take() is not None
    assert len(queue) == before - 1


def test_second_ok_for_another_notification_is_a_contradiction() -> None:
    register = Register({"e1": Told(Channel.SMS, False, "main")})

    register.heard("e1", Sent("e1", "n1", False))
    register.heard("e1", Sent("e1", "n2", True))

    assert register.events["e1"].word is Word.OK
    assert register.events["e1"].contradicted
    assert register.accepted == 1


def test_run_that_did_too_little_or_whose_controls_lost_nothing_is_no_success() -> None:
    report = Report(1, Wanted(faults=1, kinds=1, accepted=1, negative_controls=True))
    assert len(list(report.faults())) == 4

    report.log.struck[9, "NATS away"] += 1
    report.accepted = 1
    report.negative_controls["control"] = False
    assert list(report.faults()) == ["the negative control lost nothing: control"]

    report.negative_controls["control"] = True
    assert list(report.faults()) == []
    assert '"negative_controls_lost": true' in report.line()
