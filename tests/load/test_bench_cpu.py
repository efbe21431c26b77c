"""CPU time belongs to the process tree that used it, whoever has ended meanwhile."""

import os
from dataclasses import astuple
from pathlib import Path

import pytest

from clarion_local.bench import cpu
from clarion_local.bench.cpu import Machine, Stat

LINE = "{pid} ({name}) S {parent} 1 1 0 -1 4194560 1 2 3 4 {user} {system} {waited_user} {waited_system} 20 0 1 0 5 6 7"


def _line(pid: int, name: str, parent: int, ticks: tuple[int, int, int, int]) -> str:
    user, system, waited_user, waited_system = ticks
    return LINE.format(
        pid=pid,
        name=name,
        parent=parent,
        user=user,
        system=system,
        waited_user=waited_user,
        waited_system=waited_system,
    )


@pytest.mark.parametrize("name", ["postgres", "a b", "a) S 7 (b", "()"])
def test_any_name_of_a_process_is_read_over(name: str) -> None:
    assert cpu.parse_stat(_line(42, name, 7, (1, 2, 3, 4))) == Stat(42, 7, 10)


@pytest.mark.parametrize("text", ["", "42", "42 (x) S 1 2", "x (y) S " + "1 " * 20])
def test_what_is_no_stat_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        cpu.parse_stat(text)


def test_a_tree_counts_for_its_root_and_a_root_below_another_for_itself() -> None:
    stats = [Stat(1, 0, 900), Stat(10, 1, 100), Stat(11, 10, 20), Stat(12, 11, 3), Stat(13, 11, 50), Stat(14, 13, 7)]

    found = cpu.seconds_by_name(stats, {"postgres": 10, "inner": 13}, ticks_per_second=100)

    assert found == {"postgres": 1.23, "inner": 0.57}


def test_a_root_that_has_ended_has_used_nothing() -> None:
    assert cpu.seconds_by_name([Stat(1, 0, 5)], {"gone": 77}) == {"gone": 0.0}


def test_processes_that_name_each_other_as_parents_end_the_search() -> None:
    assert cpu.seconds_by_name([Stat(5, 6, 1), Stat(6, 5, 1)], {"root": 9}) == {"root": 0.0}


def test_what_a_child_used_is_kept_when_its_parent_has_waited_for_it(tmp_path: Path) -> None:
    def look(parent: tuple[int, int, int, int], child: tuple[int, int, int, int] | None) -> dict[str, float]:
        for pid, ticks, above in ((20, parent, 1), (21, child, 20)):
            folder = tmp_path / str(pid)
            folder.mkdir(exist_ok=True)
            (folder / "stat").unlink(missing_ok=True)
            if ticks is not None:
                (folder / "stat").write_text(_line(pid, "p", above, ticks))
        return cpu.take({"tree": 20}, tmp_path)

    before = look((10, 0, 0, 0), (30, 5, 0, 0))
    after = look((10, 0, 30, 5), None)

    assert before == after


def test_a_process_that_was_started_anew_counts_from_its_start() -> None:
    assert cpu.spent({"old": 5.0, "same": 1.0}, {"old": 0.5, "same": 3.0, "new": 2.0}) == {
        "old": 0.5,
        "same": 2.0,
        "new": 2.0,
    }


def test_microseconds_each_are_given_dearest_first() -> None:
    assert list(cpu.micros_each({"a": 1.0, "b": 4.0}, 2_000).items()) == [("b", 2_000.0), ("a", 500.0)]


def test_nothing_done_has_no_cost_each() -> None:
    with pytest.raises(ValueError, match="nothing was done"):
        cpu.micros_each({"a": 1.0}, 0)


def test_time_of_the_machine_is_told_apart_from_what_the_host_took() -> None:
    before = cpu.parse_machine("cpu  100 10 50 1000 20 3 2 40 0 0", 100)
    after = cpu.parse_machine("cpu  300 10 50 1100 20 3 2 140 0 0", 100)

    assert astuple(after.since(before)) == pytest.approx(astuple(Machine(busy=2.0, idle=1.0, stolen=1.0)))


@pytest.mark.parametrize("text", ["cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "intr 1"])
def test_what_is_no_line_of_the_machine_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the first line"):
        cpu.parse_machine(text)


def test_bytes_written_are_read_from_the_kernels_account(tmp_path: Path) -> None:
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "io").write_text("rchar: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n")

    assert cpu.written(9, tmp_path) == 4096


def test_this_process_has_used_some_time() -> None:
    assert cpu.take({"this": os.getpid()})["this"] > 0.0
