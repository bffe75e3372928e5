"""Line charts as SVG for a page: a few dozen lines in place of a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeAlias

Points: TypeAlias = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 10, 34
"""Room around the lines, for labels."""

MOST_POINTS = 400
"""Points of a line; where there are more, each is the mean of several."""


def line_chart(lines: Mapping[str, Points], unit: str) -> str:
    """A chart of lines over the updates of a run.

    Colours come from the page: the lines have the classes ``line-0``, ``line-1``, ....

    Args:
        lines: Points of each line by its name, x ascending; empty ones are left out.
        unit: What the values are, for those who cannot see the chart.

    Returns:
        An ``svg`` element, or a sentence if there is no point.
    """
    drawn = {name: _thinned(points) for name, points in lines.items() if points}
    if not drawn:
        return '<p class="hint">Nothing was written down.</p>'
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    across, up = nice_ticks(min(xs), max(xs)), nice_ticks(min(ys), max(ys))
    low, high = min(up[0], min(ys)), max(up[-1], max(ys))
    place = _Place((min(xs), max(xs)), (low, high))
    parts = [*_grid(place, across, up)]
    parts += [_line(place, number, points) for number, points in enumerate(drawn.values())]
    label = escape(f"{', '.join(drawn)} over updates" + (f", {unit}" if unit else ""))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``.

    Args:
        low: Smallest value.
        high: Largest value.
        about: How many steps there should be; there are one to twice as many.

    Returns:
        Two or more numbers, each a multiple of 1, 2 or 5 times a power of ten.
    """
    if high <= low:
        spread = abs(low) or 1.0
        low, high = low - spread / 2, low + spread / 2
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


class _Place:
    """From values to places in the picture."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float]) -> None:
        self.across, self.up = across, up

    def x(self, value: float) -> float:
        low, high = self.across
        return LEFT + (value - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.up
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _grid(place: _Place, across: Sequence[float], up: Sequence[float]) -> list[str]:
    parts = []
    for value in up:
        y = place.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(value)}</text>'
        )
    for value in across:
        if place.across[0] <= value <= place.across[1] and value == int(value):
            x = place.x(value)
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{short(value)}</text>'
            )
    return parts


def _line(place: _Place, number: int, points: Points) -> str:
    corners = [f"{place.x(x):.1f} {place.y(y):.1f}" for x, y in points]
    if len(corners) == 1:
        x, y = corners[0].split()
        return f'<circle class="line-{number} dot" cx="{x}" cy="{y}" r="3.5"/>'
    return f'<path class="line-{number}" d="M{"L".join(corners)}"/>'


def _thinned(points: Points) -> Points:
    """At most `MOST_POINTS`: means of neighbours."""
    each = math.ceil(len(points) / MOST_POINTS)
    groups = [points[i : i + each] for i in range(0, len(points), each)]
    return [(_mean([x for x, _ in group]), _mean([y for _, y in group])) for group in groups]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def short(value: float) -> str:
    """A number for people in a few characters: 12k, 0.25, 2.5e-4."""
    if value == 0:
        return "0"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / min(size, 1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}".replace("e-0", "e-")
