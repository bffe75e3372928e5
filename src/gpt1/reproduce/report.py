"""The report of a walk: Markdown, JSON and a plot in one folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt1.atomic import write_text_atomic
from gpt1.errors import MissingExtraError
from gpt1.reproduce.findings import Section, Value, shown

PLOT = "held-out-loss.png"

Curves = dict[str, list[tuple[int, float]]]
"""(updates, held-out loss in nats) of each recipe."""


@dataclass
class Report:
    """What a walk found.

    Attributes:
        facts: Model, data, settings, versions.
        sections: Steps, in order.
        curves: Held-out losses on the way.
        complete: False if it was interrupted.
        plot: Name of the plot in the folder, or why there is none.
    """

    facts: dict[str, Value]
    sections: list[Section] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)
    complete: bool = True
    plot: str = ""

    @property
    def failed(self) -> list[str]:
        """Names of the checks that did not pass."""
        return [f"{s.title}: {name}" for s in self.sections for name in s.failed]

    @property
    def passed(self) -> int:
        """Number of checks that did pass."""
        return sum(check.passed is True for s in self.sections for check in s.checks)

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        total = self.passed + len(self.failed)
        failed = f"; FAILED: {'; '.join(self.failed)}" if self.failed else ""
        end = "" if self.complete else " Interrupted: the steps after these are missing."
        return f"{self.passed} of {total} comparisons passed{failed}.{end}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            **self.facts,
            "complete": self.complete,
            "passed": self.passed,
            "failed": self.failed,
            "steps": [section.as_dict() for section in self.sections],
            "held_out_loss": self.curves,
            "plot": self.plot,
        }

    def markdown(self) -> str:
        """The report for people."""
        facts = [[name.replace("_", " "), shown(value)] for name, value in self.facts.items()]
        parts = ["# The GPT-1 tutorial, walked through again", self.verdict]
        parts.append(_table(("", ""), facts))
        for number, section in enumerate(self.sections, start=1):
            parts += [f"## {number}. {section.title}", _table(section.columns, section.cells())]
            parts += section.remarks
        if self.plot == PLOT:
            parts.append(f"![Held-out loss of both recipes]({PLOT})")
        elif self.plot:
            parts.append(f"No plot: {self.plot}")
        return "\n\n".join(parts) + "\n"

    def write(self, out: Path) -> None:
        """Write ``report.md``, ``report.json`` and, where it can be drawn, the plot."""
        if self.curves:
            self.plot = _draw(self.curves, out / PLOT)
        write_text_atomic(out / "report.md", self.markdown())
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
        write_text_atomic(out / "report.json", text + "\n")


def _table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that neither ends a cell nor starts a line or a tag."""
    for old, new in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("*", "&#42;")):
        text = text.replace(old, new)
    return " ".join(text.split())


def _draw(curves: Curves, image: Path) -> str:
    """Draw the curves; returns the name of the picture, or what is missing to draw it."""
    try:
        figure = held_out_figure(curves)
    except MissingExtraError as error:
        return str(error)
    figure.savefig(image)
    return image.name


def held_out_figure(curves: Curves) -> Any:
    """A matplotlib figure of held-out loss over updates.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError('a plot needs matplotlib: pip install "gpt1[plot]"') from None
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=name, marker="o", markersize=3)
    axes.set(xlabel="updates", ylabel="held-out loss (nats per token)")
    axes.set_title("Both recipes, from the same weights on the same jokes")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
