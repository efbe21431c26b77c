"""Provider accounts and categories, from the snapshot that every daemon reads."""

from clarion_kit.errors import Unavailable
from clarion_kit.sealing import Unsealable
from clarion_ledger.config import ConfigCache, Snapshot
from clarion_ledger.keys import KeyRing
from clarion_tracker.ports import Account
from clarion_tracker.wish_page import Offered

_TABLE, _COLUMN = "lane", "settings"


class NotRead(Unavailable):
    """The configuration has not been read yet, or an account of it cannot be opened."""

    dependency = "ledger"


class Configuration:
    """`ports.Accounts`, `ports.Categories` and `ports.Offers`; opened accounts are kept while their revision lasts."""

    def __init__(self, cache: ConfigCache, keys: KeyRing) -> None:
        self._cache = cache
        self._keys = keys
        self._opened: dict[int, Account] = {}

    async def account(self, lane_id: int, kind: str = "") -> Account | None:
        lane = self._snapshot().lanes.get(lane_id)
        if lane is None or kind not in ("", lane.kind):
            return None
        known = self._opened.get(lane_id)
        if known is None or known.revision != lane.revision:
            try:
                sealer = await self._keys.sealer(lane.app_id, lane.settings)
                settings = sealer.open(_TABLE, lane.name.encode(), _COLUMN, lane.settings)
            except (Unsealable, KeyError) as sealed:
                raise NotRead(f"account {lane_id} cannot be opened: {sealed}") from sealed
            known = self._opened[lane_id] = Account(lane.app_id, lane_id, lane.revision, settings)
        return known

    def category(self, app_id: int, category_id: int) -> str | None:
        rule = self._snapshot().categories_by_id.get(category_id)
        return rule.name if rule is not None and rule.app_id == app_id else None

    def offered(self, app_id: int) -> list[Offered]:
        return [
            Offered(rule.name, rule.critical, rule.opt_in_required, rule.channels)
            for rule in self._snapshot().categories_by_id.values()
            if rule.app_id == app_id
        ]

    async def ping(self) -> None:
        """Raises NotRead before the first snapshot; an old one serves."""
        self._snapshot()

    def _snapshot(self) -> Snapshot:
        if self._cache.snapshot.revision == 0:
            raise NotRead("the configuration has not been read yet")
        return self._cache.snapshot
