"""Writes files that tests compare: `facts` (what the chart knows of the daemons), `dashboards`, `golden` (what it renders to), all
after a change that was meant; `previous` (what its last version rendered to) when a version is released."""

import shutil
import sys

from . import charts, dashboards, facts, upgrades


def golden() -> None:
    """Replace the golden renders."""
    shutil.rmtree(charts.GOLDEN)
    charts.GOLDEN.mkdir()
    for name in charts.example_names():
        (charts.GOLDEN / f"{name}.yaml").write_text(charts.rendered_example(name))


def previous() -> None:
    """Keep golden renders as those of the version before, for the check of upgrades."""
    for name in upgrades.KEPT:
        shutil.copy(charts.GOLDEN / f"{name}.yaml", upgrades.PREVIOUS / f"{name}.yaml")


if __name__ == "__main__":
    actions = {"facts": facts.write, "dashboards": dashboards.write, "golden": golden, "previous": previous}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit("usage: python -m tests.helm facts | dashboards | golden | previous")
    actions[sys.argv[1]]()
