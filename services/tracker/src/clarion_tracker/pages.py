"""The pages of the tracker: the open pixel and the health page; everything else is not here."""

import base64
import re
from collections.abc import Callable

from prometheus_client import Counter

from clarion_kit.links import verify_open
from clarion_tracker.activity_queue import ActivityQueue
from clarion_tracker.machines import says_so
from clarion_tracker.ports import Reply, Request

KIND = "open"

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==")
"""A transparent image of 1 by 1, 43 bytes."""

_PIXEL = re.compile(r"/o/([^/]*)\.gif")
_READ = ("GET", "HEAD")
_NOT_STORED = {"cache-control": "no-store"}


class Pages:
    """Answers requests. Without a key every token is invalid; `stopping` turns the health page."""

    def __init__(self, key: bytes | None, queue: ActivityQueue, counter: Counter, stopping: Callable[[], bool]) -> None:
        self._key = key
        self._queue = queue
        self._counter = counter
        self._stopping = stopping

    async def answer(self, request: Request) -> Reply:
        pixel = _PIXEL.fullmatch(request.path)
        if pixel is None and request.path != "/healthz":
            return Reply(404, body=b"not found\n")
        if request.method not in _READ:
            return Reply(405, body=b"method not allowed\n", headers={"allow": ", ".join(_READ)})
        if pixel is None:
            return Reply(503, body=b"stopping\n") if self._stopping() else Reply(200, body=b"ok\n")
        self._count(request, pixel[1])
        return Reply(200, "image/gif", GIF, _NOT_STORED)

    def _count(self, request: Request, token: str) -> None:
        link = verify_open(self._key, token) if self._key is not None else None
        if link is None:
            self._counter.labels(KIND, "invalid").inc()
        else:
            self._queue.offer_open(link, machine=says_so(request))
