"""What a benchmark found: rows of figures, as a table, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.timing import Summary, summarize

HEADINGS = ("measure", "unit", "gpt1", "beside", "figure", "bar")

How = Literal["times", "times less", "%", "more"]

COMPARISONS: dict[How, Callable[[float, float], float]] = {
    "times": lambda ours, other: ours / other,
    "times less": lambda ours, other: other / ours,
    "%": lambda ours, other: 100 * ours / other,
    "more": lambda ours, other: ours - other,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure of gpt1, alone or beside another.

    Attributes:
        measure: What was measured.
        unit: Of both samples.
        ours: Our values, one a round.
        beside: What it is compared with.
        other: The values of that, from the same rounds.
        how: How the two make the figure; None: the figure is our value.
        bar: What the median figure has to reach: at least this many times (or %), or, as a
            difference or a bare value, at most this much. None: no bar.
    """

    measure: str
    unit: str
    ours: Sequence[float]
    beside: str = ""
    other: Sequence[float] = ()
    how: How | None = None
    bar: float | None = None

    @property
    def figure(self) -> list[float]:
        """One value a round: both sides of it were measured in the same moments."""
        if self.how is None:
            return list(self.ours)
        return [COMPARISONS[self.how](*pair) for pair in zip(self.ours, self.other, strict=True)]

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached, None without one."""
        if self.bar is None:
            return None
        figure = summarize(self.figure).median
        return figure <= self.bar if self.how in (None, "more") else figure >= self.bar

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "measure": self.measure,
            "unit": self.unit,
            "gpt1": _sample(self.ours),
            "beside": self.beside,
            "other": _sample(self.other) if self.other else None,
            "how": self.how,
            "figure": _sample(self.figure),
            "bar": self.bar,
            "met": self.met,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of one benchmark.

    Attributes:
        name: Of the benchmark.
        title: What it measures, one line.
        rows: The figures.
        same: What both sides were found to agree on, or not.
        settings: Sizes and data.
        quick: Whether it only tried the code: then the figures say nothing.
        machine: What it ran on.
    """

    name: str
    title: str
    rows: list[Row]
    same: dict[str, bool] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    machine: dict[str, Any] = field(default_factory=machine.facts)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "benchmark": self.name,
            "title": self.title,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "quick": self.quick,
            "machine": self.machine,
            "settings": dict(self.settings),
            "same": self.same,
            "rows": [row.as_dict() for row in self.rows],
        }


def _sample(values: Sequence[float]) -> dict[str, Any]:
    return {**summarize(values)._asdict(), "samples": list(values)}


def write(report: Mapping[str, Any], folder: Path) -> Path:
    """Write a report, as `Report.as_dict` gives it, to ``folder/<name>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report['benchmark']}.json"
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
    return file


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print a report as a table, with what it was measured on."""
    title = f"{report['benchmark']}: {report['title']}"
    if report["quick"]:
        title += " (quick: the figures say nothing)"
    table = Table(*HEADINGS, title=title, title_justify="left")
    for row in report["rows"]:
        table.add_row(*cells(row), style="red" if row["met"] is False else None)
    console.print(table)
    for claim, agrees in report["same"].items():
        console.print(f"same {claim}: {'yes' if agrees else '[bold red]NO'}")
    for facts in (report["settings"], report["machine"]):
        console.print(", ".join(f"{name} {value}" for name, value in facts.items()), style="dim")
    console.print()


def markdown(reports: Iterable[Mapping[str, Any]]) -> str:
    """A Markdown table with one line for each row of the reports."""
    lines = [("benchmark", *HEADINGS), ("---",) * (len(HEADINGS) + 1)]
    lines += [(report["benchmark"], *cells(row)) for report in reports for row in report["rows"]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of one row, in the order of `HEADINGS`."""
    other = f"{row['beside']}: {spread(row['other'])}" if row["other"] else row["beside"]
    how = row["how"]
    figure = f"{spread(row['figure'])} {how}" if how else ""
    return row["measure"], row["unit"], spread(row["gpt1"]), other, figure, _bar(row)


def _bar(row: Mapping[str, Any]) -> str:
    if row["bar"] is None:
        return ""
    sign = "≤" if row["how"] in (None, "more") else "≥"
    return f"{sign} {number(row['bar'])}: {'met' if row['met'] else 'missed'}"


def spread(sample: Mapping[str, Any]) -> str:
    """Median, with the smallest and largest value where there is more than one."""
    summary = Summary(*(sample[name] for name in Summary._fields))
    if summary.runs == 1:
        return number(summary.median)
    return f"{number(summary.median)} ({number(summary.low)}–{number(summary.high)})"


def number(value: float) -> str:
    """Four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
