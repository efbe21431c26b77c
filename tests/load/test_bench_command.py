"""`clarion bench` refuses what cannot be before it starts anything."""

import pytest
from typer.testing import CliRunner

from clarion_local.cli.failures import USAGE
from clarion_local.cli.main import build


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quick", "--smoke"], "exclude each other"),
        (["--only", "latency,nonsense"], "no such section: nonsense"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_reason(options: list[str], words: str) -> None:
    outcome = CliRunner().invoke(build(), ["bench", *options])

    assert outcome.exit_code == USAGE
    assert words in outcome.output
