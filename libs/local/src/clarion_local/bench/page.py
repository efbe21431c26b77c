"""The results page: one HTML file with its plots in it. Pure."""

import json
from collections.abc import Mapping
from html import escape

from clarion_local.bench import svg

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1917 }
table { border-collapse: collapse } td, th { border: 1px solid #d6d3d1; padding: .25rem .6rem; text-align: left }
td + td { text-align: right; font-variant-numeric: tabular-nums } pre { overflow-x: auto; background: #f5f5f4; padding: .6rem }
.fault { color: #b91c1c; font-weight: 600 }
"""
_CURVE_STEPS = {0.0: 0.0, 50.0: 1.0, 90.0: 2.0, 99.0: 3.0, 99.9: 4.0, 99.99: 5.0}
"""Percentiles as nines, so that the tail of a curve can be seen."""


def page(document: Mapping[str, object]) -> str:
    """The page of a run, as `Results.document` gives it."""
    summary, sections, broken = (_mapping(document.get(key)) for key in ("summary", "sections", "broken"))
    parts = [
        f"<h1>Clarion, measured</h1><p>{escape(str(document.get('name')))} run of {escape(str(document.get('began')))}</p>",
        *(f'<p class="fault">{escape(name)} broke off: {escape(str(why))}</p>' for name, why in broken.items()),
        _table(summary),
        "<h2>Machine</h2>",
        _table(_mapping(document.get("machine"))),
        *_plots(sections),
        "<h2>What closed each stretch</h2>",
        _json(document.get("proofs")),
        "<h2>Everything</h2>",
        *(f"<h3>{escape(name)}</h3>{_json(section)}" for name, section in sections.items()),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Clarion, measured</title><style>{_STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _plots(sections: Mapping[str, object]) -> list[str]:
    parts = []
    for name, found in _mapping(sections.get("throughput")).items():
        stretch = _mapping(found)
        sent = [(float(second), _number(count)) for second, count in enumerate(_list(stretch.get("sent_by_second")))]
        parts += [f"<h2>Throughput, providers {escape(name.replace('_', ' '))}</h2>"]
        parts += [svg.lines({"sent": sent}, "seconds", "a second")]
        cpu = _mapping(_mapping(stretch.get("cost")).get("cpu_us"))
        parts += ["<h3>CPU a notification</h3>", svg.bars({key: _number(value) for key, value in cpu.items()}, "µs")]
        memory = {
            key: [(place * 5.0, _number(size)) for place, size in enumerate(_list(series))]
            for key, series in _mapping(stretch.get("pss_mb")).items()
        }
        parts += ["<h3>Memory (PSS)</h3>", svg.lines(memory, "seconds", "MB")]
    for name, rates in _mapping(sections.get("latency")).items():
        parts.append(f"<h2>Latency, providers {escape(name.replace('_', ' '))}</h2>")
        for what in ("send", "to_provider"):
            curves = {f"{rate}/s": _curve(_mapping(found).get(what)) for rate, found in _mapping(rates).items()}
            parts += [
                f"<h3>{escape(what.replace('_', ' '))}</h3>",
                svg.lines(curves, "nines (1: p50, 2: p90, 3: p99, 4: p99.9)", "ms", log_y=True),
            ]
    return parts


def _curve(spread: object) -> list[tuple[float, float]]:
    points = []
    for point in _list(_mapping(spread).get("curve")):
        percent, value = point if isinstance(point, list | tuple) else (0.0, 0.0)
        if percent in _CURVE_STEPS:
            points.append((_CURVE_STEPS[percent], _number(value)))
    return points


def _table(values: Mapping[str, object]) -> str:
    rows = "".join(f"<tr><td>{escape(key)}</td><td>{escape(str(value))}</td></tr>" for key, value in values.items())
    return f"<table>{rows}</table>"


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=1))}</pre>"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
