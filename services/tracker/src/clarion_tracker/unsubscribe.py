"""One-click unsubscribing (RFC 8058): a POST to a signed link switches a category off; a GET only asks.

Link scanners fetch every link of a mail, so what a GET does must not matter. Mail clients POST without cookies and want a
2xx without redirects.
"""

from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qsl

from prometheus_client import Counter

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.links import UnsubscribeLink, verify_unsubscribe
from clarion_tracker.ports import BodyTooLarge, Categories, Reply, Request, Wishes

KIND = "unsubscribe"
MAX_BODY_BYTES = 4 << 10
FIELD, VALUE = "List-Unsubscribe", "One-Click"
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_MAX_FIELDS = 10

_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:30rem;margin:4rem auto;padding:0 1rem}}
h1{{font-size:1.5rem;line-height:1.3}}
button{{font:inherit;font-weight:600;padding:.75rem 1.5rem;border:0;border-radius:.375rem;background:#1f5fd0;color:#fff;cursor:pointer}}
</style></head><body><main><h1>{title}</h1>{content}</main></body></html>
"""
_ASKING = _PAGE.format(
    title="Unsubscribe",
    content=f'<p>Do you want to get no more mails of this kind?</p><form method="post"><input type="hidden" name="{FIELD}" '
    f'value="{VALUE}"><button type="submit">Unsubscribe</button></form>',
)
_DONE = _PAGE.format(title="Unsubscribed", content="<p>You will get no more mails of this kind.</p>")
_TRY_AGAIN = _PAGE.format(title="Not yet", content="<p>That did not work just now. Please try again in a minute.</p>")


class Unsubscribing:
    """Answers below /u/. Without a key no link is valid."""

    def __init__(self, key: bytes | None, categories: Categories, wishes: Wishes, counter: Counter) -> None:
        self._key = key
        self._categories = categories
        self._wishes = wishes
        self._counter = counter

    async def answer(self, request: Request, token: str) -> Reply:
        """A link that was not signed is 404 whatever the method; 503 means that nothing was kept."""
        link = verify_unsubscribe(self._key, token) if self._key is not None else None
        if link is None:
            return self._counted("invalid", Reply(404, body=b"not found\n"))
        try:
            category = self._categories.category(link.app_id, link.category_id)
            if category is None:
                return self._counted("invalid", Reply(404, body=b"not found\n"))
            if request.method == "POST":
                return await self._unsubscribe(request, link, category)
        except (Unavailable, DomainError):
            return self._counted("unavailable", _page(503, _TRY_AGAIN, {"retry-after": "30"}))
        if request.method in ("GET", "HEAD"):
            return self._counted("asked", _page(200, _ASKING))
        return Reply(405, body=b"method not allowed\n", headers={"allow": "GET, HEAD, POST"})

    async def _unsubscribe(self, request: Request, link: UnsubscribeLink, category: str) -> Reply:
        try:
            body = await request.body.read(MAX_BODY_BYTES)
        except BodyTooLarge:
            return self._counted("invalid", Reply(413, body=b"too large\n", headers={"connection": "close"}))
        if not _one_click(request.headers.get("content-type", ""), body):
            return self._counted("invalid", Reply(400, body=b"not a one-click request\n"))
        await self._wishes.unsubscribe(link.app_id, link.recipient_ref, category, link.channel)
        return self._counted("applied", _page(200, _DONE))

    def _counted(self, result: str, reply: Reply) -> Reply:
        self._counter.labels(KIND, result).inc()
        return reply


def _page(status: int, text: str, headers: Mapping[str, str] = {}) -> Reply:
    return Reply(status, "text/html; charset=utf-8", text.encode(), {**_HEADERS, **headers})


def _one_click(content_type: str, body: bytes) -> bool:
    """Whether a body holds the one field that RFC 8058 §3.1 asks for, in either of its encodings."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _FORM:
        try:
            return (FIELD, VALUE) in parse_qsl(body.decode("ascii"), max_num_fields=_MAX_FIELDS)
        except ValueError:
            return False
    if media_type != _MULTIPART or not content_type.isascii() or not content_type.isprintable():
        return False
    form = BytesParser(policy=HTTP).parsebytes(b"content-type: %s\r\n\r\n%s" % (content_type.encode(), body))
    parts = form.get_payload() if form.is_multipart() else []
    return any(
        part.get_param("name", header="content-disposition") == FIELD
        and (part.get_payload(decode=True) or b"").strip() == VALUE.encode()
        for part in list(parts)[:_MAX_FIELDS]
    )
