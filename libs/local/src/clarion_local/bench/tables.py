"""Tables of figures in the READMEs, written from a run's results between markers; nobody types them.

A block begins with ``<!-- bench: NAME -->`` and ends with ``<!-- /bench -->``. A second run stands beside the first in the
table of what is promised; every other table shows the first.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from clarion_local.bench.results import RATIOS, number_at

FILES = ("README.md", "tests/load/README.md", "helm/README.md")
_BLOCK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_WANTED: Mapping[str, tuple[str, str]] = {
    "e2e_per_s": ("sent end to end, mixed", "≥ 4,444/s"),
    "accept_batch_per_s": ("accepted by `SendBatch`", "≥ 15,000/s"),
    "accept_unary_per_s": ("accepted by `Send`", "≥ 2,000/s"),
    "send_p99_ms_at_1850": ("`Send` at 1,850/s, p99", "≤ 25 ms"),
    "p99_ms_at_1850": ("accepted to provider at 1,850/s, p99", "≤ 150 ms"),
    "urgent_p99_ms_in_flood": ("urgent to provider beside a flood, p99", "≤ 100 ms"),
    "cpu_us_per_notification": ("CPU of all processes a notification", "≤ 450 µs"),
    "growth_ratio_10m": ("CPU a delivery, 10 million rows against none", "≤ 1.10"),
    "max_pss_mb": ("memory of the largest daemon (PSS)", "≤ 130 MB"),
    "ready_seconds": ("ready after the start", "≤ 15 s"),
    "unaccounted": ("unaccounted for", "0"),
}
"""Key of the last line → what it is, and what it should be."""
_STEADY = (
    "e2e_per_s",
    "accept_batch_per_s",
    "accept_unary_per_s",
    "cpu_us_per_notification",
    "growth_ratio_10m",
    "max_pss_mb",
)
"""Rates and costs. Two quiet runs agree about these; a percentile beyond what the machine can do is a backlog's length."""
AGREE = 0.15
"""How far apart two runs may be, as a share of the larger figure."""
_PARTS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("`Get`, one caller, p99 ms", "≤ 10", ("reads", "alone", "call", "p99_ms")),
    ("`Get` beside 185 sends a second, p99 ms", "", ("reads", "beside_load", "call", "p99_ms")),
    ("metrics of a daemon at rest, p99 ms", "≤ 50", ("scrape", "resting", "scrape", "p99_ms")),
    ("metrics of a daemon beside 185/s, p99 ms", "≤ 50", ("scrape", "beside", "185", "scrape", "p99_ms")),
    ("metrics of a daemon beside 925/s, p99 ms", "", ("scrape", "beside", "925", "scrape", "p99_ms")),
    ("throughput lost by tracing 1 %", "≤ 0.05", ("tracing", "throughput_lost", "1%")),
    ("CPU added by tracing 1 %", "", ("tracing", "cpu_added", "1%")),
    ("CPU added by tracing everything", "", ("tracing", "cpu_added", "100%")),
    ("`Resolve` of 500, p99 ms", "≤ 15", ("edges", "resolve_500", "call", "p99_ms")),
    ("open pixels a second", "≥ 2,000", ("edges", "tracker", "pixels", "per_s")),
    ("app events a second", "≥ 2,000", ("edges", "tracker", "app_events", "per_s")),
    ("children of a broadcast planned a second", "≥ 5,000", ("broadcast", "planning", "steady_per_s")),
    (
        "urgent to provider beside a paced broadcast, p99 ms",
        "≤ 100",
        ("broadcast", "beside", "urgent_to_provider", "p99_ms"),
    ),
    ("scheduled sends late, p99 ms", "≤ 1,000", ("scheduled", "late", "late", "p99_ms")),
    ("the same over 1,000,000 of next month, p99 ms", "≤ 1,000", ("scheduled", "late_over_future", "late", "p99_ms")),
)
"""What else is promised: what it is, what it should be, where it stands among the sections."""
_MILLION = 1_000_000
_NONE = "-"

Document = Mapping[str, object]


def write(root: Path, document: Document, again: Document | None = None) -> list[Path]:
    """Write every block of every README anew, `again` being a second run of the same; gives the files that had any. Raises
    OSError, ValueError for a block of an unknown name."""
    written = []
    for name in FILES:
        path = root / name
        text = path.read_text()
        if _BLOCK.search(text):
            path.write_text(filled(text, document, again))
            written.append(path)
    return written


def filled(text: str, document: Document, again: Document | None = None) -> str:
    """A text with its blocks written anew. Raises ValueError for a block of an unknown name."""

    def block(found: re.Match[str]) -> str:
        make = BLOCKS.get(found[2])
        if make is None:
            raise ValueError(f"no block is called {found[2]}; there are {', '.join(BLOCKS)}")
        made = performance(document, again) if make is performance else make(document)
        return f"{found[1]}{made}\n{found[3]}"

    return _BLOCK.sub(block, text)


def performance(document: Document, again: Document | None = None) -> str:
    """The figures that are promised, beside those that were found, in one run or in two."""
    if again is None:
        rows = [(what, wanted, _figure(_summed(document, key))) for key, (what, wanted) in _WANTED.items()]
        return _dated(document) + _table(("", "wanted", "measured"), rows)
    both = []
    for key, (what, wanted) in _WANTED.items():
        apart = distance(document, again, key)
        shown = _NONE if apart is None else f"{apart:.0%}"
        both.append((what, wanted, _figure(_summed(document, key)), _figure(_summed(again, key)), shown))
    return _dated(document) + _table(("", "wanted", "first run", "second run", "apart"), both)


def distance(document: Document, again: Document, key: str) -> float | None:
    """How far apart two runs are in a figure of the last line, as a share of the larger one; None where one has it not."""
    first, second = _summed(document, key), _summed(again, key)
    if first is None or second is None:
        return None
    larger = max(abs(first), abs(second))
    return abs(first - second) / larger if larger else 0.0


def disagreements(document: Document, again: Document) -> dict[str, float | None]:
    """Rates and costs that two runs do not agree about, and how far apart they are (None: one run has it not)."""
    apart = {key: distance(document, again, key) for key in _STEADY}
    return {key: share for key, share in apart.items() if share is None or share > AGREE}


def _summed(document: Document, key: str) -> float | int | None:
    return number_at(document, ("summary", key))


def latencies(document: Document) -> str:
    """Every rate, at both speeds of the providers."""
    rows = []
    for providers, rates in _items(document, "sections", "latency"):
        for rate, found in _items(rates):
            for what, name in (("send", "`Send`"), ("send_batch", "`SendBatch` of 20"), ("to_provider", "to provider")):
                figures = [_figure(number_at(found, (what, part))) for part in ("p50_ms", "p99_ms", "p999_ms")]
                rows.append((f"{rate}/s", providers.replace("_", " "), name, *figures))
    return _dated(document) + _table(("rate", "providers", "", "p50 ms", "p99 ms", "p99.9 ms"), rows)


def stages(document: Document) -> str:
    """Each stage alone."""
    at = ("sections", "stages")
    rows = [
        (f"accept, {mode}", _figure(number_at(found, ("per_s",))), _figure(number_at(found, ("cost", "cpu_us_total"))))
        for mode, found in _items(document, *at, "accept")
    ]
    rows.append(
        (
            "plan",
            _figure(number_at(document, (*at, "plan", "planned_per_s"))),
            _figure(number_at(document, (*at, "plan", "cost", "cpu_us_total"))),
        )
    )
    rows += [
        (
            f"dispatch, {kind}",
            _figure(number_at(found, ("sent_per_s",))),
            _figure(number_at(found, ("cost", "cpu_us_total"))),
        )
        for kind, found in _items(document, *at, "dispatch")
    ]
    tracker = ("sections", "edges", "tracker", "pixels")
    rows.append(
        (
            "tracker, open pixels",
            _figure(number_at(document, (*tracker, "per_s"))),
            _figure(number_at(document, (*tracker, "cost", "cpu_us_total"))),
        )
    )
    return _dated(document) + _table(("stage alone", "a second", "CPU µs each, all processes"), rows)


def cpu(document: Document) -> str:
    """Who spends what on a notification."""
    at = ("sections", "throughput", "at_once", "cost", "cpu_us")
    rows = [(name, _figure(_number(value))) for name, value in _items(document, *at)]
    return _dated(document) + _table(("process", "CPU µs a notification"), rows)


def yardstick(document: Document) -> str:
    """Our rates as shares of what the machine allows."""
    names = {
        "copy_per_s": "rows by COPY",
        "publish_per_s": "ids by JetStream",
        "push_per_s": "pushes by HTTP/2",
        "mail_per_s": "mails by SMTP",
        "limit_per_s": "all of it together",
    }
    bare = [(name, _figure(number_at(document, ("sections", "yardstick", key)))) for key, name in names.items()]
    ours = [
        (name, _figure(number_at(document, ("sections", *path))), names[part], _share(document, name))
        for name, (path, part) in RATIOS.items()
    ]
    return (
        _dated(document)
        + _table(("without us", "notifications a second"), bare)
        + "\n\n"
        + _table(("disk", "p50 ms", "p99 ms", "p99.9 ms", "longest ms"), [_disk(document)])
        + "\n\n"
        + _table(("ours", "a second", "of", "is"), ours)
    )


def _disk(document: Document) -> tuple[str, ...]:
    at = ("sections", "yardstick", "disk_sync")
    figures = (_figure(number_at(document, (*at, part))) for part in ("p50_ms", "p99_ms", "p999_ms", "max_ms"))
    return ("8 KiB and its `fdatasync`, nothing else going on", *figures)


def parts(document: Document) -> str:
    """What is promised of single parts."""
    rows = [(what, wanted, _figure(number_at(document, ("sections", *path)))) for what, wanted, path in _PARTS]
    return _dated(document) + _table(("", "wanted", "measured"), rows)


def profiles(document: Document) -> str:
    """The functions that take most of each daemon's own time."""
    rows = []
    for daemon, functions in _items(document, "sections", "profile"):
        for found in list(functions)[:5] if isinstance(functions, Sequence) else []:
            own, total = (number_at(found, (part,)) or 0.0 for part in ("own", "total"))
            name = str(found.get("function", "")) if isinstance(found, Mapping) else ""
            rows.append((daemon, f"`{name}`", f"{own:.0%}", f"{total:.0%}"))
    return _dated(document) + _table(("daemon", "function", "own", "with callees"), rows)


def sizing(document: Document) -> str:
    """What a cluster needs, from what this machine needed."""
    at = ("sections", "throughput", "at_once")
    memory = dict(_items(document, *at, "pss_mb"))
    rows = []
    for name, value in _items(document, *at, "cost", "cpu_us"):
        each = _number(value)
        if name in ("benchmark", "generator", "trace receiver", "sandbox"):
            continue
        sizes = [_number(size) for size in series] if isinstance(series := memory.get(name), Sequence) else []
        rows.append(
            (name, _figure(_MILLION / each if each else None), _figure(each), _figure(max(sizes, default=None)))
        )
    stored = number_at(document, (*at, "ledger_bytes_each"))
    wal = number_at(document, (*at, "cost", "written_bytes", "postgres_wal"))
    bus = number_at(document, (*at, "cost", "written_bytes", "nats"))
    lines = [
        f"- the ledger grows by {_gigabytes(stored)} for a million notifications, its bodies included (dropped after a week)",
        f"- Postgres writes {_gigabytes(wal)} of WAL for a million, NATS {_gigabytes(bus)}",
    ]
    table = _table(("", "notifications of the mix a second a core", "CPU µs each", "memory MB (PSS)"), rows)
    return _dated(document) + table + "\n\n" + "\n".join(lines)


BLOCKS: Mapping[str, Callable[[Document], str]] = {
    "performance": performance,
    "latency": latencies,
    "stages": stages,
    "cpu": cpu,
    "parts": parts,
    "yardstick": yardstick,
    "profiles": profiles,
    "sizing": sizing,
}
"""Name of a block → what is written there."""


def _dated(document: Document) -> str:
    machine = document.get("machine")
    what = machine if isinstance(machine, Mapping) else {}
    day = str(document.get("began", ""))[:10]
    return (
        f"{day}, {what.get('cores', '?')} cores ({what.get('cpu', '?')}), {what.get('memory_gb', '?')} GB, "
        f"{'' if document.get('whole') else 'parts of '}a `{document.get('name')}` run.\n\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _items(document: object, *path: str) -> Iterator[tuple[str, object]]:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    if isinstance(document, Mapping):
        yield from document.items()


def _figure(value: float | int | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _share(document: Document, name: str) -> str:
    ratio = number_at(document, ("ratios", name))
    return _NONE if ratio is None else f"{ratio:.0%}"


def _gigabytes(each: float | None) -> str:
    return _NONE if each is None else f"{each * _MILLION / 1e9:.2f} GB"
