"""Names of apps as a label of metrics, bounded."""

from clarion_kit.telemetry.names import MOST_APPS, OTHER
from clarion_ledger.config import ConfigCache


class AppLabels:
    """The first `MOST_APPS` apps that are asked for have their names, the rest are `OTHER`: a mesh with many tenants must not
    make as many series."""

    def __init__(self, config: ConfigCache) -> None:
        self._config = config
        self._labels: dict[int, str] = {}

    def of(self, app_id: int) -> str:
        """The app's name, `OTHER` where it has none yet or there are too many."""
        label = self._labels.get(app_id)
        if label is None:
            if len(self._labels) >= MOST_APPS:
                return OTHER
            label = next((name for name, id_ in self._config.snapshot.app_names.items() if id_ == app_id), None)
            if label is None:
                return OTHER
            self._labels[app_id] = label
        return label
