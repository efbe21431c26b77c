"""What a run of attacks comes to."""

import json

import pytest

from .finding import Finding
from .report import FIRST_KEYS, Report

MINIMUMS = {"ssrf": 2}


def test_run_without_escapes_and_with_enough_tries_is_a_success() -> None:
    report = Report(1, MINIMUMS, [Finding("ssrf", 2), Finding("canary", 5)])

    assert list(report.faults()) == []


@pytest.mark.parametrize(
    ("findings", "broken", "fault"),
    [
        ([Finding("ssrf", 2, ["got in"])], [], "got in"),
        ([Finding("ssrf", 2), Finding("canary", 5, ["a number in the log"])], [], "a number in the log"),
        ([Finding("ssrf", 1)], [], "ssrf: only 1 of 2 tries"),
        ([], [], "ssrf: only 0 of 2 tries"),
        ([Finding("ssrf", 2)], ["flood broke off"], "flood broke off"),
    ],
)
def test_escape_hit_missing_try_and_broken_attack_are_faults(
    findings: list[Finding], broken: list[str], fault: str
) -> None:
    assert list(Report(1, MINIMUMS, findings, broken).faults()) == [fault]


def test_last_line_begins_with_what_a_machine_looks_for() -> None:
    report = Report(3, {}, [Finding("flood", 7), Finding("canary", 5, ["hit"]), Finding("header", 9, ["a", "b"])])

    told = json.loads(report.line())

    assert list(told)[:7] == [*FIRST_KEYS, "escapes", "canary_hits"]
    assert (told["header"], told["escapes"], told["canary_hits"], told["flood"], told["ssrf"]) == (9, 2, 1, 7, 0)


def test_table_has_a_row_for_each_attack_with_its_figures() -> None:
    rows = list(Report(1, {}, [Finding("flood", 1_200, ["x"], {"p99_ms": 12.5})]).table())

    assert rows[1].split() == ["flood", "1,200", "1"]
    assert rows[2].strip() == "p99_ms = 12.5"
