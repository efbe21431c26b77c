"""What pip-audit says is read, and that it could not ask is told by name."""

import json
import subprocess

import pytest

from .vulnerabilities import SKIPPED, Audit, read, run

REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "2.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["2.1"]}]},
        {"name": "worse", "version": "3.0", "vulns": [{"id": "GHSA-2", "fix_versions": []}]},
        {"name": "elsewhere", "skip_reason": "not there"},
    ],
    "fixes": [],
}


class PipAudit:
    """Answers in place of the program; None: it does not come back in time."""

    def __init__(self, *outputs: str | None) -> None:
        self._outputs = list(outputs)

    def __call__(self, command: list[str], **named: object) -> "subprocess.CompletedProcess[str]":
        output = self._outputs.pop(0)
        if output is None:
            raise subprocess.TimeoutExpired(command, 1)
        return subprocess.CompletedProcess(command, 1, output, "")


def test_vulnerabilities_are_named_with_what_mends_them() -> None:
    assert read(json.dumps(REPORT)) == Audit(
        3, 1, ["bad 2.0: GHSA-1, fixed in 2.1", "worse 3.0: GHSA-2, fixed in no version"]
    )


@pytest.mark.parametrize("output", ["", "ERROR: no route to host", "{}", "[]", '{"dependencies": 5}'])
def test_what_is_no_report_is_no_answer(output: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read(output)


KNOWS_NOTHING = json.dumps({"dependencies": [{"name": "elsewhere", "skip_reason": "not there"}]})


@pytest.mark.parametrize("outputs", [("",), (None,), (KNOWS_NOTHING,), (json.dumps(REPORT), None)])
def test_audit_that_could_not_ask_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outputs: tuple[str | None, ...]
) -> None:
    monkeypatch.setattr(subprocess, "run", PipAudit(*outputs))

    assert run() == 0
    assert capsys.readouterr().out == f"{SKIPPED}\n"


def test_audit_fails_for_a_known_vulnerability(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", PipAudit(json.dumps(REPORT), json.dumps(REPORT)))

    assert run() == 1
    assert "bad 2.0: GHSA-1" in capsys.readouterr().out


def test_audit_without_a_find_passes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clean = json.dumps({"dependencies": REPORT["dependencies"][:1]})
    monkeypatch.setattr(subprocess, "run", PipAudit(clean, clean))

    assert run() == 0
    assert capsys.readouterr().out == "1 packages, 0 known vulnerabilities; 0 packages unknown to the service\n"
