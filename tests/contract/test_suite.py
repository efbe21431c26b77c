"""What `make test` makes of tests that fail: few are run once more, alone, and named."""

from pathlib import Path

import pytest

from tests.tools import suite

PASSES_THE_SECOND_TIME = """
from pathlib import Path

def test_late():
    seen = Path(__file__).with_name("seen")
    was_here = seen.exists()
    seen.touch()
    assert was_here
"""
FAILS = "def test_wrong():\n    assert False\n"
PASSES = "def test_right():\n    assert True\n"


def test_suite_that_passes_is_run_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_one.py").write_text(PASSES)

    assert suite.run(tmp_path, ()) == 0
    assert "once more" not in capfd.readouterr().out


def test_test_that_passes_alone_is_named_as_unsteady(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_one.py").write_text(PASSES_THE_SECOND_TIME)
    (tmp_path / "test_two.py").write_text(PASSES)

    assert suite.run(tmp_path) == 0
    assert "passed alone" in (told := capfd.readouterr().out)
    assert "  test_one.py::test_late\n" in told


def test_test_that_fails_alone_too_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(PASSES_THE_SECOND_TIME)
    (tmp_path / "test_two.py").write_text(FAILS)

    assert suite.run(tmp_path, ()) == 1


def test_many_that_fail_are_not_run_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(suite.FEW + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"test_{number}.py").write_text(PASSES_THE_SECOND_TIME)

    assert suite.run(tmp_path, ()) == 1
    assert "once more" not in capfd.readouterr().out


def test_suite_that_cannot_be_read_fails_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_one.py").write_text("import nothing_of_this_name\n")

    assert suite.run(tmp_path, ()) not in (0, 1)
    assert "once more" not in capfd.readouterr().out
