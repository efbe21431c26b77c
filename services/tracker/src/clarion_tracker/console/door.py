"""The console over HTTP: who gets in, which page they see.

Reading only: nothing here changes anything but a cookie. A form of another site cannot log anybody in or out (`Origin` and
`Sec-Fetch-Site` say whose form it is), and the cookie is never sent with a request that another site began.
"""

import logging
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, parse_qsl, urlsplit
from uuid import UUID

from prometheus_client import Counter

from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_tracker.console.facts import Span
from clarion_tracker.console.ports import Facts, Vouching
from clarion_tracker.console.session import PATH, Sessions
from clarion_tracker.console.throttle import Throttle
from clarion_tracker.console.views import Views
from clarion_tracker.ports import BodyTooLarge, Reply, Request

log = logging.getLogger(__name__)

KIND = "console"
MOST_FOUND = 50
MAX_QUERY = 256
_MAX_FORM_BYTES = 2_048
_FORM = "application/x-www-form-urlencoded"
_NOTIFICATION = re.compile(r"/console/n/([0-9a-fA-F-]{32,36})")
_REFUSED = "That key and secret do not open this page."
_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
}


class Console:
    """Answers /console and whatever is below it."""

    def __init__(
        self,
        sessions: Sessions,
        vouching: Vouching,
        facts: Facts,
        views: Views,
        throttle: Throttle,
        counter: Counter,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._vouching = vouching
        self._facts = facts
        self._views = views
        self._throttle = throttle
        self._counter = counter
        self._clock = clock

    async def answer(self, request: Request) -> Reply:
        """Pages for whoever is logged in, the log-in page for everybody else; 503 while the gateway or the ledger is away."""
        asset = self._views.asset(request.path.removeprefix(f"{PATH}/"))
        if asset is not None:
            return _only_read(request) or Reply(200, *asset, {**_HEADERS, "cache-control": "max-age=300"})
        try:
            return await self._answer(request)
        except (Unavailable, DomainError) as away:
            log.warning("the console cannot answer: %s", away)
            page = self._views.message(
                "Not now", "Something the console needs does not answer. Please try again in a minute."
            )
            return self._counted("unavailable", _page(503, page, {"retry-after": "5"}))

    async def _answer(self, request: Request) -> Reply:
        if request.path == f"{PATH}/login":
            return await self._log_in(request)
        if request.path == f"{PATH}/logout":
            return self._log_out(request)
        refused = _only_read(request)
        if refused is not None:
            return refused
        session = self._sessions.read(request.headers.get("cookie", ""), self._clock.now())
        if session is None or not await self._vouching.vouches(session):
            return _to(f"{PATH}/login")
        return await self._show(request)

    async def _show(self, request: Request) -> Reply:
        query = parse_qs(request.query[:4_096], max_num_fields=10) if request.query else {}
        if request.path in (PATH, f"{PATH}/"):
            span = Span.DAY if query.get("span") == [Span.DAY.value] else Span.HOUR
            overview, apps = await self._facts.overview(span), await self._facts.apps()
            return self._counted("shown", _page(200, self._views.overview(overview, apps)))
        if request.path == f"{PATH}/search":
            return await self._search(query.get("q", [""])[0].strip(), query.get("app", [""])[0])
        named = _NOTIFICATION.fullmatch(request.path)
        notification_id = _uuid(named[1]) if named is not None else None
        facts = await self._facts.notification(notification_id) if notification_id is not None else None
        if facts is None:
            page = self._views.message(
                "Not here", "There is no such page, or the notification is older than the ledger keeps."
            )
            return self._counted("not_found", _page(404, page))
        shown = self._views.notification(facts, self._clock.now(), await self._facts.apps())
        return self._counted("shown", _page(200, shown))

    async def _search(self, text: str, app: str) -> Reply:
        if not text or len(text) > MAX_QUERY or "\0" in text:
            return _to(PATH)
        found = await self._facts.search(text, app)
        if len(found) == 1:
            return self._counted("shown", _to(f"{PATH}/n/{found[0].notification_id}"))
        apps = await self._facts.apps()
        return self._counted("shown", _page(200, self._views.search(text, app, found[:MOST_FOUND], MOST_FOUND, apps)))

    async def _log_in(self, request: Request) -> Reply:
        if request.method in ("GET", "HEAD"):
            return _page(200, self._views.login())
        if request.method != "POST":
            return _not_allowed("GET, HEAD, POST")
        if not _of_this_site(request.headers):
            return self._counted("refused", Reply(403, body=b"a form of another site\n", headers=_HEADERS))
        if not self._throttle.admit():
            wait = self._throttle.retry_after_seconds
            page = self._views.login(f"Too many tries just now. Please wait {wait} seconds.")
            return self._counted("throttled", _page(429, page, {"retry-after": str(wait)}))
        try:
            form = _form(request.headers.get("content-type", ""), await request.body.read(_MAX_FORM_BYTES))
        except BodyTooLarge:
            return self._counted("refused", Reply(413, body=b"too large\n", headers={"connection": "close"}))
        session = await self._vouching.log_in(form.get("key", ""), form.get("secret", ""))
        if session is None:
            return self._counted("refused", _page(403, self._views.login(_REFUSED)))
        return self._counted("login", _to(PATH, self._sessions.cookie(session, self._clock.now())))

    def _log_out(self, request: Request) -> Reply:
        if request.method != "POST":
            return _not_allowed("POST")
        if not _of_this_site(request.headers):
            return self._counted("refused", Reply(403, body=b"a form of another site\n", headers=_HEADERS))
        return self._counted("logout", _to(f"{PATH}/login", self._sessions.end()))

    def _counted(self, result: str, reply: Reply) -> Reply:
        self._counter.labels(KIND, result).inc()
        return reply


def _of_this_site(headers: Mapping[str, str]) -> bool:
    """Whether a form that was posted is ours. Every browser sends `Origin` with a POST, newer ones `Sec-Fetch-Site` too."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    host = headers.get("host") or headers.get(":authority", "")
    return origin is not None and bool(host) and urlsplit(origin).netloc.lower() == host.lower()


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form, none where it is not one."""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return {}
    try:
        return dict(parse_qsl(body.decode("ascii"), max_num_fields=8))
    except ValueError:
        return {}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _only_read(request: Request) -> Reply | None:
    return None if request.method in ("GET", "HEAD") else _not_allowed("GET, HEAD")


def _not_allowed(allowed: str) -> Reply:
    return Reply(405, body=b"method not allowed\n", headers={**_HEADERS, "allow": allowed})


def _page(status: int, text: str, headers: Mapping[str, str] = {}) -> Reply:
    return Reply(status, "text/html; charset=utf-8", text.encode(), {**_HEADERS, **headers})


def _to(path: str, cookie: str = "") -> Reply:
    headers = {**_HEADERS, "location": path, **({"set-cookie": cookie} if cookie else {})}
    return Reply(303, headers=headers)
