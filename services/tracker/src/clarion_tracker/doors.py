"""Counts what the HTTP paths answer, and how long it takes (OpenTelemetry's `http.server.request.duration`)."""

import time

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_tracker.ports import Handler, Reply, Request

ROUTES = {
    "/o/": "/o/{token}.gif",
    "/c/": "/c/{token}",
    "/u/": "/u/{token}",
    "/p/": "/p/{token}",
    "/v1/callbacks/": "/v1/callbacks/{provider}/{account}",
    "/v1/events": "/v1/events",
    "/console": "/console",
    "/healthz": "/healthz",
}
"""How paths begin, and what they are counted as; tokens in them must not become labels."""
OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_OTHER_METHOD = "_OTHER"
"""As the semantic conventions call methods that nobody knows."""


class Doors:
    """In front of the site."""

    def __init__(self, site: Handler, metrics: Metrics) -> None:
        self._site = site
        self._duration = metrics.histogram(names.HTTP_DURATION)

    async def answer(self, request: Request) -> Reply:
        started = time.monotonic()
        status = 500
        try:
            reply = await self._site(request)
            status = reply.status
            return reply
        finally:
            method = request.method if request.method in _METHODS else _OTHER_METHOD
            series = self._duration.labels(method, route_of(request.path), str(status))
            series.observe(time.monotonic() - started)


def route_of(path: str) -> str:
    """The path's template, `OTHER` for one that nobody serves."""
    return next((route for start, route in ROUTES.items() if path.startswith(start)), OTHER)
