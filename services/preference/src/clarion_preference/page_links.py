"""Links to preference pages: how long one may last, and what it looks like."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from clarion_kit.links import PageLink, page_url

DEFAULT_LIFE = timedelta(days=30)
MAX_LIFE = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Signs links. `base_url`: the public URL of the tracker, which serves the pages."""

    key: bytes = field(repr=False)
    base_url: str

    def url(self, app_id: int, recipient_ref: UUID, expire_at: datetime) -> str:
        return page_url(self.base_url, self.key, PageLink(app_id, recipient_ref, expire_at))
