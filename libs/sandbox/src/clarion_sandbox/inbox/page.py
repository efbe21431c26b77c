"""The door ``/inbox/``: the page's files for anyone, the messages for holders of the API token."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_sandbox.ledger import Ledger
from clarion_sandbox.web.http import Headers, Outcome, Reply, Request

from . import mail, reading
from .catalogue import Catalogue, Filter
from .json_value import Json
from .summary import summarize
from .waiting import MAX_WAIT_SECONDS, Arrivals, TooManyWaiters

ROOT = "/inbox/"
_INDEX = "index.html"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_COMMON: Headers = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
]
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# Mail brings its own styles; nothing of it runs, and nothing is fetched: an opened mail tells nobody.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
_MAX_QUERY_FIELDS = 10
_MAX_DIGITS = 15
_KEY_CHARACTERS = 32


class _Listing(BaseModel):
    """The query of a list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    before: Annotated[int, Field(ge=0, lt=1 << 53)] = (1 << 53) - 1
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0
    """Seconds to wait until the newest message is another than ``after``."""
    channel: Annotated[str, Field(max_length=20)] = ""
    app: Annotated[str, Field(max_length=4_000)] = ""
    q: Annotated[str, Field(max_length=200)] = ""


class Inbox:
    """The handler."""

    def __init__(self, api_token: str, ledger: Ledger) -> None:
        self._token = api_token.encode()
        self._ledger = ledger
        self._catalogue = Catalogue(ledger)
        self._arrivals = Arrivals(lambda: ledger.newest_arrival)
        self._files = _static_files()

    def close(self) -> None:
        """Answer every waiting request now."""
        self._arrivals.close()

    async def __call__(self, request: Request) -> Outcome:
        """Answer one request."""
        if request.method != "GET":
            return _error(405, "the inbox can only be read")
        if request.path + "/" == ROOT:
            return Reply(308, [("location", ROOT)])
        path = request.path.removeprefix(ROOT) or _INDEX
        if path in self._files:
            kind, body = self._files[path]
            return Reply(200, [("content-type", kind), ("content-security-policy", _PAGE_POLICY), *_COMMON], body)
        match path.split("/"):
            case ["mail", number, key] if _is_number(number) and hmac.compare_digest(key.encode(), self._key(number)):
                return self._mail_html(int(number))
            case ["api", *resource]:
                given = (request.headers.get("authorization") or "").encode()
                if not hmac.compare_digest(given, b"Bearer " + self._token):
                    return _error(401, "the API token of sandbox.json is required")
                return await self._api(resource, request.query)
        return _error(404, "no such page")

    async def _api(self, resource: list[str], query: str) -> Reply:
        match resource:
            case ["messages"]:
                return await self._list(query)
            case ["messages", number] if _is_number(number):
                return self._message(int(number))
            case ["census"]:
                return _json(200, await self._catalogue.census())
        return _error(404, "no such resource")

    async def _list(self, query: str) -> Reply:
        try:
            asked = _Listing.model_validate(dict(parse_qsl(query, max_num_fields=_MAX_QUERY_FIELDS)))
        except ValidationError as error:
            return _error(400, "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
        except ValueError:
            return _error(400, "too many fields")
        if asked.wait:
            try:
                await self._arrivals.beyond(asked.after, asked.wait)
            except TooManyWaiters:
                return _error(429, "too many pages wait", [("retry-after", "2")])
        # Read before the list: a message that comes meanwhile is in the next one too rather than in none.
        newest = self._ledger.newest_arrival
        wanted = Filter(asked.channel, asked.app, asked.q.casefold().split())
        found, more = await self._catalogue.newest(wanted, after=asked.after, before=asked.before, limit=asked.limit)
        return _json(200, {"messages": [one.document() for one in found], "more": more, "newest": newest})

    def _message(self, number: int) -> Reply:
        arrival = self._ledger.arrival(number)
        if arrival is None:
            return _error(404, "no such message, or no longer kept whole")
        summary = summarize(arrival)
        shown = reading.document(arrival, summary)
        if summary.channel == "mail":
            shown["html_path"] = f"{ROOT}mail/{number}/{self._key(str(number)).decode()}"
        return _json(200, shown)

    def _mail_html(self, number: int) -> Reply:
        arrival = self._ledger.arrival(number)
        html = None if arrival is None else mail.read(arrival.content).html_with_pictures()
        if html is None:
            return _error(404, "no such mail, or it has no HTML")
        headers = [("content-type", "text/html; charset=utf-8"), ("content-security-policy", _MAIL_POLICY), *_COMMON]
        return Reply(200, headers, html.encode("utf-8", "replace"))

    def _key(self, number: str) -> bytes:
        """Opens the HTML of one mail: a frame sends no token of its own."""
        digest = hmac.new(self._token, f"inbox mail {number}".encode(), hashlib.sha256).hexdigest()
        return digest[:_KEY_CHARACTERS].encode()


def _static_files() -> dict[str, tuple[str, bytes]]:
    """Content type and bytes of the page's files, by name."""
    folder = files(__package__) / "static"
    return {file.name: (_KINDS[PurePath(file.name).suffix], file.read_bytes()) for file in folder.iterdir()}


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_DIGITS


def _json(status: int, document: Mapping[str, Json], headers: Headers | None = None) -> Reply:
    # ASCII: texts of messages may hold lone surrogates, which UTF-8 cannot carry.
    kind = ("content-type", "application/json")
    return Reply(status, [kind, *_COMMON, *(headers or [])], json.dumps(document).encode())


def _error(status: int, error: str, headers: Headers | None = None) -> Reply:
    return _json(status, {"error": error}, headers)
