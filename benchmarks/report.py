"""What a benchmark found: rows of figures, as a table, as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.timing import Summary, summarize

HEADINGS = ("measure", "unit", "gpt1", "beside", "figure", "bar")

NOT_RUN = "not run"

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
        ours: Our values, one a round; none: not run.
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
        """Whether the bar is reached, None without one or when it was not run."""
        if self.bar is None or not self.ours:
            return None
        figure = summarize(self.figure).median
        return figure <= self.bar if self.how in (None, "more") else figure >= self.bar

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "measure": self.measure,
            "unit": self.unit,
            "gpt1": _sample(self.ours) if self.ours else None,
            "beside": self.beside,
            "other": _sample(self.other) if self.other else None,
            "how": self.how,
            "figure": _sample(self.figure) if self.ours else None,
            "bar": self.bar,
            "met": self.met,
        }


class Figure(NamedTuple):
    """One measure of gpt1 and of any number of peers.

    Attributes:
        precision: Number format of the weights.
        measure: What was measured.
        unit: Of all samples.
        sides: The values of each, one a round, or why there are none.
        bound: The best the machine allows, one value a round.
    """

    precision: str
    measure: str
    unit: str
    sides: Mapping[str, list[float] | str]
    bound: Sequence[float] = ()

    @property
    def name(self) -> str:
        """What a `Row` that judges this figure has as its measure."""
        return f"{self.precision}, {self.measure}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "name": self.name,
            "precision": self.precision,
            "measure": self.measure,
            "unit": self.unit,
            "sides": {
                title: values if isinstance(values, str) else _sample(values)
                for title, values in self.sides.items()
            },
            "bound": _sample(self.bound) if self.bound else None,
        }


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of one benchmark.

    Attributes:
        name: Of the benchmark.
        title: What it measures, one line.
        rows: The figures, each beside one peer.
        figures: Figures beside many peers; then ``rows`` judge these.
        same: What both sides were found to agree on, or not.
        settings: Sizes and data.
        quick: Whether it only tried the code: then the figures say nothing.
        machine: What it ran on.
    """

    name: str
    title: str
    rows: list[Row]
    figures: list[Figure] = field(default_factory=list)
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
            "figures": [figure.as_dict() for figure in self.figures],
        }


def _sample(values: Sequence[float]) -> dict[str, Any]:
    return {**summarize(values)._asdict(), "samples": list(values)}


def was_run(report: Mapping[str, Any]) -> bool:
    """Whether anything was measured."""
    return bool(report["figures"]) or any(row["gpt1"] for row in report["rows"])


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print a report as a table, with what it was measured on."""
    title = f"{report['benchmark']}: {report['title']}"
    if report["quick"]:
        title += " (quick: the figures say nothing)"
    headings, lines = table(report)
    shown = Table(*headings)
    for line in lines:
        shown.add_row(*line, style="red" if "missed" in line[-1] else None)
    console.print(title, style="italic", soft_wrap=True)
    console.print(shown)
    for claim, agrees in report["same"].items():
        console.print(f"same {claim}: {'yes' if agrees else '[bold red]NO'}")
    for facts in (report["settings"], report["machine"]):
        console.print(", ".join(f"{name} {value}" for name, value in facts.items()), style="dim")
    console.print()


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report in Markdown."""
    headings, lines = table(report)
    rule = ("---",) * len(headings)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, rule, *lines))


def table(report: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and lines of a report."""
    figures = report.get("figures")
    if not figures:
        return HEADINGS, [cells(row) for row in report["rows"]]
    titles = list(dict.fromkeys(title for figure in figures for title in figure["sides"]))
    bound = {"bound": "bound"} if any(figure["bound"] for figure in figures) else {}
    lines = []
    for figure in figures:
        judged = [row for row in report["rows"] if row["measure"] == figure["name"]]
        sides = {**figure["sides"], "bound": figure["bound"]}
        samples = [sides.get(title) for title in (*titles, *bound)]
        texts = [figure["precision"], figure["measure"], figure["unit"]]
        texts += [_median(sample) for sample in samples]
        lines.append((*texts, "; ".join(_judgement(row) for row in judged)))
    return ("precision", "measure", "unit", *titles, *bound, "bar"), lines


def _median(sample: Mapping[str, Any] | str | None) -> str:
    """Median and half the range in percent of it; or why there is none."""
    if sample is None or isinstance(sample, str):
        return sample or ""
    if sample["runs"] == 1:
        return number(sample["median"])
    spread = 50 * (sample["high"] - sample["low"]) / sample["median"]
    return f"{number(sample['median'])} ±{spread:.0f}%"


def _judgement(row: Mapping[str, Any]) -> str:
    how = {"times": "x ", "%": "% of "}.get(row["how"], "")
    figure = f"{number(row['figure']['median'])}{how}{row['beside']}"
    return f"{figure} {_bar(row)}"


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of one row, in the order of `HEADINGS`."""
    if row["gpt1"] is None:
        return row["measure"], row["unit"], NOT_RUN, row["beside"], "", ""
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
