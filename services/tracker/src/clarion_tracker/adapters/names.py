"""Names of apps, categories and provider accounts, from the snapshot that every daemon reads."""

from collections.abc import Collection

from clarion_ledger.config import ConfigCache, Snapshot
from clarion_tracker.adapters.configuration import NotRead


class Names:
    """`ports.Names`."""

    def __init__(self, cache: ConfigCache) -> None:
        self._cache = cache

    def app(self, app_id: int) -> str:
        return next((name for name, known in self._snapshot().app_names.items() if known == app_id), "")

    def category(self, category_id: int) -> str:
        rule = self._snapshot().categories_by_id.get(category_id)
        return rule.name if rule is not None else ""

    def provider(self, lane_id: int) -> str:
        lane = self._snapshot().lanes.get(lane_id)
        return lane.name if lane is not None else ""

    def app_id(self, name: str) -> int | None:
        return self._snapshot().app_names.get(name)

    def categories(self, apps: Collection[int] | None, name: str) -> list[int]:
        return [
            rule.category_id
            for rule in self._snapshot().categories_by_id.values()
            if rule.name == name and (apps is None or rule.app_id in apps)
        ]

    def providers(self, apps: Collection[int] | None, name: str) -> list[int]:
        return [
            lane.lane_id
            for lane in self._snapshot().lanes.values()
            if lane.name == name and (apps is None or lane.app_id in apps)
        ]

    def _snapshot(self) -> Snapshot:
        """Raises NotRead before the first one; an old one serves."""
        if self._cache.snapshot.revision == 0:
            raise NotRead("the configuration has not been read yet")
        return self._cache.snapshot
