"""Requests are counted by route, never by what a stranger wrote."""

import pytest

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_tracker.doors import Doors
from clarion_tracker.ports import Reply, Request


async def site(request: Request) -> Reply:
    if request.path == "/o/defect.gif":
        raise ZeroDivisionError
    return Reply(404 if request.path == "/admin.php" else 200)


def count(metrics: Metrics, *labels: str) -> float | None:
    found: float | None = metrics.registry.get_sample_value(
        f"{names.HTTP_DURATION.name}_count", dict(zip(names.HTTP_DURATION.labels, labels, strict=True))
    )
    return found


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/o/secret-token.gif", ("GET", "/o/{token}.gif", "200")),
        ("HEAD", "/o/secret-token.gif", ("HEAD", "/o/{token}.gif", "200")),
        ("POST", "/u/secret-token", ("POST", "/u/{token}", "200")),
        ("POST", "/v1/callbacks/twilio/7", ("POST", "/v1/callbacks/{provider}/{account}", "200")),
        ("GET", "/admin.php", ("GET", "other", "404")),
        ("BREW", "/healthz", ("_OTHER", "/healthz", "200")),
    ],
)
async def test_request_is_counted_by_method_route_and_status(method: str, path: str, labels: tuple[str, ...]) -> None:
    metrics = Metrics()

    await Doors(site, metrics).answer(Request(method, path))

    assert count(metrics, *labels) == 1


async def test_defect_of_a_door_is_counted_and_raised() -> None:
    metrics = Metrics()

    with pytest.raises(ZeroDivisionError):
        await Doors(site, metrics).answer(Request("GET", "/o/defect.gif"))

    assert count(metrics, "GET", "/o/{token}.gif", "500") == 1
