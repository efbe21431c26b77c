"""Two kinds of plots as SVG, drawn by hand: a library would weigh more than everything that is drawn. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 300, 60, 34, 14, 170
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f", "#57534e")
_TICKS = 5
_BAR = 20


def lines(series: Mapping[str, Points], x_label: str, y_label: str, *, log_y: bool = False) -> str:
    """Lines over common axes that begin at 0; `log_y` for positive values alone. Nothing is drawn of nothing."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    x_most = max(x for x, _ in points) or 1.0
    y_most = max(y for _, y in points) or 1.0
    y_least = max(min((y for _, y in points if y > 0), default=1.0), y_most / 1e6) if log_y else 0.0

    def place(x: float, y: float) -> str:
        across = _LEFT + x / x_most * (_WIDTH - _LEFT - _RIGHT)
        share = _log_share(y, y_least, y_most) if log_y else y / y_most
        return f"{across:.1f},{_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP):.1f}"

    parts = [_frame(x_label, y_label)]
    for tick in range(_TICKS + 1):
        share = tick / _TICKS
        value = y_least * (y_most / y_least) ** share if log_y else share * y_most
        height = _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)
        across = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        parts.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{_number(value)}</text>')
        parts.append(f'<text x="{across:.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{_number(share * x_most)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn = " ".join(place(x, y) for x, y in line)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{_TOP + 10 + number * 15}" fill="{colour}">{escape(name)}</text>'
        )
    return _svg(_HEIGHT, parts)


def bars(values: Mapping[str, float], unit: str) -> str:
    """A bar for each, longest first."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    if not ordered:
        return ""
    most = ordered[0][1] or 1.0
    parts = []
    for number, (name, value) in enumerate(ordered):
        y = number * _BAR
        length = value / most * (_WIDTH - 330)
        parts.append(f'<text x="160" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="168" y="{y + 3}" width="{length:.1f}" height="{_BAR - 6}" fill="{_COLOURS[0]}"/>')
        parts.append(f'<text x="{172 + length:.1f}" y="{y + 14}">{_number(value)} {escape(unit)}</text>')
    return _svg(len(ordered) * _BAR + 4, parts)


def _log_share(value: float, least: float, most: float) -> float:
    if most <= least:
        return 1.0
    return math.log(max(value, least) / least) / math.log(most / least)


def _frame(x_label: str, y_label: str) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    return (
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#999"/>'
        f'<text x="{right}" y="{_HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
        f'<text x="4" y="{_TOP - 3}">{escape(y_label)}</text>'
    )


def _svg(height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="11">{"".join(parts)}</svg>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.3g}"
