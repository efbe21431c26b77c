"""The reference of metrics, written from the registry: `generate` writes it, `drift` fails where it differs."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from clarion_kit.telemetry import names
from clarion_kit.telemetry.names import Metric

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "libs" / "kit" / "METRICS.md"
REGISTRY = "clarion_kit.telemetry"

_HEAD = """\
# Metrics

Every metric of every daemon, served as `GET /metrics` on `CLARION_METRICS_LISTEN`; written by `tests/tools/metrics_reference.py` from
`clarion_kit.telemetry.names`, a test compares. Names follow OpenTelemetry's semantic conventions where these have one. Times are
in seconds. A histogram has the series `_bucket` {le}, `_sum` and `_count`; those marked ✦ carry the trace behind an
observation (exemplars) for who scrapes with `Accept: application/openmetrics-text`. Beside them each daemon shows its
process (`process_…`).

"Counted in" names the package whose code does: in libraries it is every daemon that uses them (`clarion_channels`: the dispatchers).

"""


def registry() -> dict[str, Metric]:
    """Every metric by the name of its constant, in the order of the registry."""
    return {name: value for name, value in vars(names).items() if isinstance(value, Metric)}


def uses() -> dict[str, set[str]]:
    """Packages whose sources use a constant of the registry, by the constant's name."""
    found: dict[str, set[str]] = {name: set() for name in registry()}
    for package, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "names":
                found.get(node.attr, set()).add(package)
    return found


def markdown() -> str:
    """The whole reference."""
    used = uses()
    rows = [_row(metric, used[name]) for name, metric in registry().items()]
    return _HEAD + "| metric | kind | labels | what | counted in |\n|---|---|---|---|---|\n" + "".join(rows)


def main(arguments: list[str]) -> int:
    """`generate` or `drift`; gives the exit code."""
    if arguments == ["generate"]:
        REFERENCE.write_text(markdown(), encoding="utf-8")
        return 0
    if arguments == ["drift"]:
        if REFERENCE.read_text(encoding="utf-8") == markdown():
            return 0
        sys.stderr.write(f"differs: {REFERENCE.relative_to(ROOT)}: run tests/tools/metrics_reference.py generate\n")
        return 1
    sys.stderr.write("usage: metrics_reference.py generate | drift\n")
    return 2


def _row(metric: Metric, packages: set[str]) -> str:
    kind = f"{metric.kind} ✦" if metric.exemplars else f"{metric.kind}"
    labels = ", ".join(metric.labels) or "none"
    return f"| `{metric.name}` | {kind} | {labels} | {metric.help} | {', '.join(sorted(packages))} |\n"


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted([*ROOT.glob("libs/*/src/clarion_*/**/*.py"), *ROOT.glob("services/*/src/clarion_*/**/*.py")]):
        text = path.read_text(encoding="utf-8")
        if REGISTRY in text and path.name != "names.py":
            yield path.relative_to(ROOT).parts[3], ast.parse(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
