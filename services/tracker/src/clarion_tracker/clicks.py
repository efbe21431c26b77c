"""Click links: redirected from the signed link alone, always; what is no link of ours is not here."""

from prometheus_client import Counter

from clarion_kit.links import verify_click
from clarion_tracker.activity_queue import ActivityQueue
from clarion_tracker.machines import says_so
from clarion_tracker.ports import Reply, Request

KIND = "click"
_READ = ("GET", "HEAD")
_HEADERS = {"cache-control": "no-store", "x-robots-tag": "noindex, nofollow"}


class Clicks:
    """Answers below /c/. Without a key no link is valid."""

    def __init__(self, key: bytes | None, queue: ActivityQueue, counter: Counter) -> None:
        self._key = key
        self._queue = queue
        self._counter = counter

    async def answer(self, request: Request, token: str) -> Reply:
        """Where a link leads was fixed when it was signed: nobody can make one of ours lead elsewhere."""
        if request.method not in _READ:
            return Reply(405, body=b"method not allowed\n", headers={"allow": ", ".join(_READ)})
        link = verify_click(self._key, token) if self._key is not None else None
        if link is None:
            self._counter.labels(KIND, "invalid").inc()
            return Reply(404, body=b"not found\n")
        self._queue.offer_click(link, machine=says_so(request))
        return Reply(302, headers={"location": link.target, **_HEADERS})
