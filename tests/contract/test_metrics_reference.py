"""The registry of metrics: everything in it is counted somewhere, and its reference says so."""

import pytest

from tests.tools import metrics_reference


def test_reference_is_what_the_registry_gives() -> None:
    assert metrics_reference.REFERENCE.read_text(encoding="utf-8") == metrics_reference.markdown(), (
        "run tests/tools/metrics_reference.py generate"
    )


def test_every_metric_is_counted_by_some_daemon() -> None:
    uncounted = [name for name, packages in metrics_reference.uses().items() if not packages]

    assert uncounted == []


def test_no_label_grows_with_traffic_or_people() -> None:
    bounded = {
        *("account", "answer", "app", "budget", "cause", "channel", "check", "country", "fate", "fault", "job", "kind"),
        *("lane", "message", "outcome", "priority", "provider", "reason", "result", "sink", "source", "stage", "state"),
        *("verdict", "http_request_method", "http_response_status_code", "http_route", "rpc_method"),
        "rpc_response_status_code",
    }
    labels = {label for metric in metrics_reference.registry().values() for label in metric.labels}

    assert labels <= bounded, "say in the registry why this label is bounded, and add it here"


@pytest.mark.parametrize("arguments", [[], ["both"], ["generate", "drift"]])
def test_tool_says_how_it_is_used(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert metrics_reference.main(arguments) == 2
    assert "usage" in capsys.readouterr().err
