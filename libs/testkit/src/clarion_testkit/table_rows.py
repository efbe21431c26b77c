"""Tells at the end of a run how much of the providers' error tables it exercised.

A plug-in of its own, because the process that reports is not the one that runs the tests when several run them.
"""

from collections import Counter

import pytest

PROPERTY = "table_row"
"""What a test records for each row: (provider, number of answers)."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many rows of the providers' error tables this run exercised through the sandbox."""
    rows, answers = Counter[str](), Counter[str]()
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if name == PROPERTY and report.when == "call":
                provider, count = value
                rows[provider] += 1
                answers[provider] += count
    if not rows:
        return
    terminalreporter.section("error tables through the sandbox")
    for provider in sorted(rows):
        terminalreporter.write_line(f"{provider}: {rows[provider]} rows, {answers[provider]} answers")
    terminalreporter.write_line(f"total: {rows.total()} rows, {answers.total()} answers")
