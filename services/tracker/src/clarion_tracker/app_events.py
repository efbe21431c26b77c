"""Events that apps and browsers tell: `POST /v1/events`.

The token of a push is all the proof there is, and all that it allows: to tell what became of that one delivery. It is no
cookie, so calls from any site may come (CORS). A 2xx means committed.
"""

import json

from prometheus_client import Counter

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.links import verify_event
from clarion_tracker.activity import AppEvent
from clarion_tracker.app_event_body import KINDS, Told, TooWrong, read
from clarion_tracker.ports import AppEvents, BodyTooLarge, Reply, Request

KIND = "app_event"
MAX_BODY_BYTES = 64 << 10
MAX_CALLS = 256
"""Being answered at once, with 16 MiB of bodies; what comes beyond is asked to come again, before anything of it is read."""
_MEDIA_TYPES = frozenset({"application/json", "text/plain"})
"""A browser's `sendBeacon` and `fetch` send text without asking first."""
_CORS = {"access-control-allow-origin": "*", "cache-control": "no-store"}
_ASKED = {
    **_CORS,
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "content-type",
    "access-control-max-age": "86400",
}
_AWAY = Reply(503, body=b"try again\n", headers={**_CORS, "retry-after": "30"})


class AppEventDoor:
    """Answers at /v1/events. Without a key no token is valid."""

    def __init__(self, key: bytes | None, events: AppEvents, counter: Counter) -> None:
        self._key = key
        self._events = events
        self._counter = counter
        self._calls = 0

    async def answer(self, request: Request) -> Reply:
        if request.method == "OPTIONS":
            return Reply(204, headers=_ASKED)
        if request.method != "POST":
            return Reply(405, body=b"method not allowed\n", headers={**_CORS, "allow": "OPTIONS, POST"})
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES or request.headers.get("content-encoding", "identity") != "identity":
            return self._counted("wrong_type", Reply(415, body=b"unsupported media type\n", headers=_CORS))
        if self._calls >= MAX_CALLS:
            return self._counted("unavailable", _AWAY)
        self._calls += 1
        try:
            return await self._take(await request.body.read(MAX_BODY_BYTES))
        except BodyTooLarge:
            headers = {**_CORS, "connection": "close"}
            return self._counted("too_large", Reply(413, body=b"too large\n", headers=headers))
        except TooWrong as wrong:
            return self._counted("malformed", Reply(400, body=f"{wrong}\n".encode(), headers=_CORS))
        except (Unavailable, DomainError):
            return self._counted("unavailable", _AWAY)
        finally:
            self._calls -= 1

    async def _take(self, body: bytes) -> Reply:
        told = read(body)
        events: list[AppEvent] = []
        refused: list[int] = []
        for position, one in enumerate(told):
            event = self._event(one)
            if event is None:
                refused.append(position)
            else:
                events.append(event)
        new = await self._events.store(events) if events else 0
        self._counter.labels(KIND, "stored").inc(new)
        self._counter.labels(KIND, "repeated").inc(len(events) - new)
        self._counter.labels(KIND, "refused").inc(len(refused))
        answer = {"stored": new, "repeated": len(events) - new, "refused": refused}
        return Reply(200, "application/json", json.dumps(answer).encode(), _CORS)

    def _event(self, told: Told) -> AppEvent | None:
        delivery = verify_event(self._key, told.token) if self._key is not None else None
        if delivery is None:
            return None
        return AppEvent(delivery, KINDS[told.type], told.id, told.name, told.value, told.currency)

    def _counted(self, result: str, reply: Reply) -> Reply:
        self._counter.labels(KIND, result).inc()
        return reply
