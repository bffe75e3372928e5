"""What docs/performance.md shows of the runs: the tables between its marks, and the drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import report
from benchmarks.options import ROOT
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = ROOT / "docs" / "performance.md"
DRAWING = "decode.png"
CAPTION = "Tokens a second of gpt1 and its peers, by precision and batch; dashed: the bound"
BAR_WIDTH = 0.8


def fill(page: Path, reports: Iterable[Mapping[str, Any]]) -> None:
    """Put the tables of reports between the marks of a page, and draw `decode` beside it.

    Args:
        page: Has lines ``<!-- NAME -->`` and ``<!-- end of NAME -->`` for benchmarks.
        reports: Those the page has no marks for are left out.

    Raises:
        ConfigError: If there are no marks at all.
    """
    text = page.read_text(encoding="utf-8")
    if "<!-- end of " not in text:
        raise ConfigError(f"{page} has no marks such as <!-- decode --> and <!-- end of decode -->")
    for found in reports:
        name = found["benchmark"]
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, begins, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if begins and ends:
            text = before + begin + _shown(found, page.parent) + end + after
    page.write_text(text, encoding="utf-8")


def _shown(found: Mapping[str, Any], folder: Path) -> str:
    if found["benchmark"] != "decode":
        return report.markdown(found)
    draw(found, folder / DRAWING)
    return f"{report.markdown(found)}\n![{CAPTION}]({DRAWING})\n"


def draw(found: Mapping[str, Any], file: Path) -> None:
    """Draw the speeds of decoding: a row of panels a precision, a group of bars a case."""
    from matplotlib.figure import Figure

    figures = [f for f in found["figures"] if f["measure"].startswith("decode")]
    rows = {name: list(group) for name, group in groupby(figures, lambda f: f["precision"])}
    titles = list(dict.fromkeys(title for figure in figures for title in figure["sides"]))
    drawing = Figure(figsize=(11, 2.6 * len(rows)), layout="constrained")
    panels = drawing.subplots(len(rows), 1, squeeze=False)[:, 0]
    for panel, (precision, group) in zip(panels, rows.items(), strict=True):
        _panel(panel, group, titles)
        panel.set_title(precision, loc="left")
    panels[0].legend(loc="upper left", fontsize="small", ncols=2)
    drawing.suptitle(found["title"])
    drawing.savefig(file, dpi=110, metadata={"Software": None})


def _panel(panel: Axes, figures: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> None:
    width = BAR_WIDTH / len(titles)
    for number, title in enumerate(titles):
        samples = [figure["sides"].get(title) for figure in figures]
        there = [(x, s) for x, s in enumerate(samples) if isinstance(s, dict)]
        panel.bar(
            [x + (number + 0.5) * width - BAR_WIDTH / 2 for x, _ in there],
            [s["median"] for _, s in there],
            width,
            yerr=_errors(s for _, s in there),
            label=title,
            color=f"C{number}",
        )
    bounds = [figure["bound"] for figure in figures]
    for x, bound in enumerate(bounds):
        if bound:
            ends = x - BAR_WIDTH / 2, x + BAR_WIDTH / 2
            panel.hlines(bound["median"], *ends, colors="black", linestyles="dashed")
    panel.set_xticks(range(len(figures)), [f["measure"].removeprefix("decode, ") for f in figures])
    panel.set_yscale("log")
    panel.set_ylabel("tokens/s")


def _errors(samples: Iterable[Mapping[str, float]]) -> list[list[float]]:
    """From the median down to the lowest value, and up to the highest."""
    found = [(s["median"] - s["low"], s["high"] - s["median"]) for s in samples]
    return [list(ends) for ends in zip(*found, strict=True)] or [[], []]
