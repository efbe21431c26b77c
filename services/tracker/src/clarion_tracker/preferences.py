"""Preference pages: a signed link shows its owner's wishes, and a POST to it changes them.

Link scanners fetch every link, so a GET changes nothing. Whoever has the link may change the wishes: no cookie comes into it,
so no other site can act for somebody without the link itself.
"""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from prometheus_client import Counter

from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.links import PageLink, verify_page
from clarion_tracker import wish_html
from clarion_tracker.ports import BodyTooLarge, Offers, PageWishes, Reply, Request
from clarion_tracker.wish_page import MAX_CATEGORIES, WishPage, changes, wish_page

KIND = "page"
SAVED = "saved"
MAX_BODY_BYTES = 128 << 10
_MAX_FIELDS = 2 * (MAX_CATEGORIES + 1) * 5 + 10
_FORM = "application/x-www-form-urlencoded"
_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
}


class Preferences:
    """Answers below /p/. Without a key no link is valid."""

    def __init__(self, key: bytes | None, offers: Offers, wishes: PageWishes, counter: Counter, clock: Clock) -> None:
        self._key = key
        self._offers = offers
        self._wishes = wishes
        self._counter = counter
        self._clock = clock

    async def answer(self, request: Request, token: str) -> Reply:
        """A link that was not signed, has expired, or is of somebody who is gone is 404 whatever the method; 503 means that
        nothing was kept."""
        link = verify_page(self._key, token, self._clock.now()) if self._key is not None else None
        if link is None:
            return self._not_found()
        if request.method not in ("GET", "HEAD", "POST"):
            return Reply(405, body=b"method not allowed\n", headers={"allow": "GET, HEAD, POST"})
        try:
            wanted = await self._wishes.wanted(link.app_id, link.recipient_ref)
            if wanted is None:
                return self._not_found()
            page = wish_page(wanted, self._offers.offered(link.app_id))
            if request.method == "POST":
                return await self._change(request, link, page)
        except (Unavailable, DomainError):
            return self._counted("unavailable", _page(503, wish_html.try_again(), {"retry-after": "30"}))
        return self._counted("shown", _page(200, wish_html.show(page, saved=request.query == SAVED)))

    async def _change(self, request: Request, link: PageLink, page: WishPage) -> Reply:
        try:
            body = await request.body.read(MAX_BODY_BYTES)
        except BodyTooLarge:
            return self._counted("invalid", Reply(413, body=b"too large\n", headers={"connection": "close"}))
        form = _form(request.headers.get("content-type", ""), body)
        if form is None:
            return self._counted("invalid", Reply(400, body=b"not a form of this page\n"))
        turned = changes(page, *form)
        if turned and not await self._wishes.turn(link.app_id, link.recipient_ref, turned):
            return self._not_found()
        # Answered by a page of its own, so that reading it again posts nothing.
        headers = {**_HEADERS, "location": f"{request.path}?{SAVED}"}
        return self._counted("changed" if turned else "unchanged", Reply(303, headers=headers))

    def _not_found(self) -> Reply:
        return self._counted("invalid", Reply(404, body=b"not found\n"))

    def _counted(self, result: str, reply: Reply) -> Reply:
        self._counter.labels(KIND, result).inc()
        return reply


def _page(status: int, text: str, headers: Mapping[str, str] = {}) -> Reply:
    return Reply(status, "text/html; charset=utf-8", text.encode(), {**_HEADERS, **headers})


def _form(content_type: str, body: bytes) -> tuple[Collection[str], Collection[str]] | None:
    """Names of what was on and of what is on, None where it is not our form."""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        return None
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=bool(body), max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    if not {field for field, _ in fields} <= {wish_html.SHOWN, wish_html.ON}:
        return None
    shown = {value for field, value in fields if field == wish_html.SHOWN}
    return shown, {value for field, value in fields if field == wish_html.ON}
