"""A preference page on wishes in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from clarion_kit.links import PageLink, sign_page
from clarion_kit.vocabulary import Channel
from clarion_tracker.ports import Reply, Request
from clarion_tracker.preferences import Preferences
from clarion_tracker.wish_page import Change, Offered, Wanted

from .tracker_calls import Bytes
from .tracker_samples import Away, FixedClock, tracked

KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECIPIENT = UUID(int=9)
APP = 3
LINK = PageLink(APP, RECIPIENT, NOW + timedelta(days=30))
TOKEN = sign_page(KEY, LINK)
FORM = "application/x-www-form-urlencoded"


class PageWorld:
    """One person with a phone and a mailbox; remembers what was turned."""

    def __init__(self, key: bytes | None = KEY, now: datetime = NOW) -> None:
        counter, self.metrics = tracked()
        self.turned: list[Change] = []
        self.away = False
        self.gone = False
        self.choices: dict[tuple[str, Channel | None], bool] = {}
        self.preferences = Preferences(key, self, self, counter, FixedClock(now))

    def offered(self, app_id: int) -> Sequence[Offered]:
        return [Offered("weekly-news"), Offered("<b>&", critical=True)] if app_id == APP else []

    async def wanted(self, app_id: int, recipient_ref: UUID) -> Wanted | None:
        if self.away:
            raise Away
        if self.gone or (app_id, recipient_ref) != (APP, RECIPIENT):
            return None
        return Wanted((Channel.SMS, Channel.EMAIL), False, frozenset(), dict(self.choices))

    async def turn(self, app_id: int, recipient_ref: UUID, changes: Sequence[Change]) -> bool:
        if self.away:
            raise Away
        self.turned += changes
        self.choices |= {(one.category, one.channel): one.enabled for one in changes if one.category}
        return not self.gone

    async def handle(self, request: Request) -> Reply:
        """As the site does."""
        return await self.preferences.answer(request, request.path.removeprefix("/p/"))

    async def ask(
        self, method: str = "GET", body: bytes = b"", content_type: str = FORM, token: str = TOKEN, query: str = ""
    ) -> Reply:
        headers = {"content-type": content_type}
        return await self.handle(Request(method, f"/p/{token}", query=query, headers=headers, body=Bytes(body)))


def form(shown: Sequence[str], on: Sequence[str]) -> bytes:
    return urlencode([*(("shown", one) for one in shown), *(("on", one) for one in on)]).encode()
