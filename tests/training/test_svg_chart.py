"""Charts: every point in its place, ticks that enclose the values, text that is escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt1.training.svg_chart import HEIGHT, LEFT, MOST_POINTS, WIDTH, line_chart, nice_ticks, short

values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 4))


def corners(svg: str, line: int = 0) -> list[tuple[float, float]]:
    [path] = re.findall(rf'class="line-{line}" d="M([^"]+)"', svg)
    return [tuple(map(float, corner.split())) for corner in path.split("L")]  # type: ignore[misc]


def test_points_are_where_their_values_say() -> None:
    svg = line_chart({"loss": [(0, 0.0), (5, 10.0), (10, 5.0)]}, "nats")
    (x0, y0), (x1, y1), (x2, y2) = corners(svg)
    assert x0 == LEFT
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y0 > y2 > y1  # up is less
    assert y0 - y2 == pytest.approx(y2 - y1, abs=0.11)


@given(st.lists(st.tuples(st.integers(0, 10**6), values), min_size=1, unique_by=lambda p: p[0]))
def test_every_chart_is_xml_and_stays_inside(points: list[tuple[float, float]]) -> None:
    svg = line_chart({"a < b & c": sorted(points)}, 'of "quotes"')
    ElementTree.fromstring(svg)
    places = re.findall(r"[ML]([\d.-]+) ([\d.-]+)", svg)
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in places)


@given(values, values)
def test_ticks_are_round_and_enclose_the_values(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 10
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= high - 1e-6 * step
    assert float(f"{step:.3e}"[:1]) in (1, 2, 5)


def test_a_long_line_is_thinned_to_means() -> None:
    points = [(float(x), float(x % 2)) for x in range(4 * MOST_POINTS)]
    drawn = corners(line_chart({"loss": [*points, (1e4, 1.0)]}, ""))
    assert len(drawn) <= MOST_POINTS
    assert len({y for _, y in drawn[1:-1]}) <= 2


def test_a_lone_point_is_a_dot_and_nothing_is_said() -> None:
    assert "<circle" in line_chart({"loss": [(3, 1.0)]}, "")
    assert "Nothing was written down" in line_chart({"loss": []}, "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (3.0, "3"), (1500, "1,500"), (25_000, "25k"), (3e6, "3M"), (5e-4, "0.0005"),
     (2.5e-5, "2.5e-5"), (2e9, "2G")],
)  # fmt: skip
def test_numbers_are_short(value: float, shown: str) -> None:
    assert short(value) == shown
