"""promtool, which Debian's package `prometheus` brings: checks rules, and plays courses of things to them."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import yaml

from .alert_cases import Case
from .charts import Json

PROGRAM = "promtool"
SECONDS = 120
NAMESPACE = 'namespace="clarion"'


def found() -> str:
    """Its path. Skips the test by name where it is not installed; in CI that is a failure.

    Raises:
        pytest.skip.Exception, pytest.fail.Exception: where it is missing.
    """
    path = shutil.which(PROGRAM)
    if path is not None:
        return path
    missing = "promtool is not installed here (package prometheus)"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def complaints(*arguments: str | Path) -> str:
    """What it says against its arguments; empty: nothing."""
    done = subprocess.run([found(), *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def recording(expressions: Iterable[str]) -> str:
    """Queries as a file of rules, because only rules can be checked."""
    rules: list[Json] = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(expressions)]
    return yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}, width=1_000)


def unit_tests(rules_file: Path, cases: Iterable[Case], severities: Mapping[str, str], *, every: str = "1m") -> str:
    """Cases as a file of tests; rules are evaluated so often."""
    tests: list[Json] = [_test(case, severities[case.alert]) for case in cases]
    document: dict[str, Json] = {"rule_files": [str(rules_file)], "evaluation_interval": every, "tests": tests}
    return yaml.safe_dump(document, width=1_000)


def _test(case: Case, severity: str) -> dict[str, Json]:
    expected: list[Json] = [{"exp_labels": {**labels, "severity": severity}} for labels in case.fires]
    return {
        "name": f"{case.alert} {'fires' if case.fires else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": _scraped(name), "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": f"{case.after}m", "alertname": case.alert, "exp_alerts": expected}],
    }


def _scraped(name: str) -> str:
    """A series with the label that scraping gives it."""
    head, brace, rest = name.partition("{")
    return f"{head}{{{NAMESPACE},{rest}" if brace else f"{head}{{{NAMESPACE}}}"
