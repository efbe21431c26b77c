"""How many apps metrics tell apart."""

from unittest.mock import create_autospec

from clarion_kit.telemetry.names import MOST_APPS, OTHER
from clarion_ledger.app_labels import AppLabels
from clarion_ledger.config import ConfigCache, Snapshot


def labels_of(names: dict[str, int]) -> AppLabels:
    config = create_autospec(ConfigCache, instance=True)
    config.snapshot = Snapshot(app_names=names)
    return AppLabels(config)


def test_app_is_shown_by_its_name_once_it_is_known() -> None:
    labels = labels_of({"shop": 1})

    assert [labels.of(1), labels.of(2), labels.of(1)] == ["shop", OTHER, "shop"]


def test_apps_beyond_the_bound_share_one_label() -> None:
    labels = labels_of({f"app-{number}": number for number in range(2 * MOST_APPS)})

    shown = {labels.of(number) for number in range(2 * MOST_APPS)}

    assert len(shown) == MOST_APPS + 1
    assert labels.of(0) == "app-0"
