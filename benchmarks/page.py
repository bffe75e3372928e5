"""What docs/performance.md shows of the runs: the tables between its marks, and the drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import report
from benchmarks.options import ROOT
from gpt1.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = ROOT / "docs" / "performance.md"
DRAWING = "decode.png"
CAPTION = "Decoding by gpt1 and its peers; dashed, where it is near: the bound"
HEADROOM = 1.3
"""Height of a panel, over its highest bar."""


def fill(page: Path, reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the tables of reports between the marks of a page, and draw `decode` beside it.

    Args:
        page: Has lines ``<!-- NAME -->`` and ``<!-- end of NAME -->`` for benchmarks.
        reports: By these names; those the page has no marks for are left out.

    Raises:
        ConfigError: If there are no marks at all.
    """
    text = page.read_text(encoding="utf-8")
    if "<!-- end of " not in text:
        raise ConfigError(f"{page} has no marks such as <!-- decode --> and <!-- end of decode -->")
    for name, found in reports.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, begins, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if begins and ends:
            table = report.markdown(found)
            if name == "decode":
                draw(found, page.parent / DRAWING)
                table += f"\n![{CAPTION}]({DRAWING})\n"
            text = before + begin + table + end + after
    page.write_text(text, encoding="utf-8")


def draw(found: Mapping[str, Any], file: Path) -> None:
    """Draw the speeds of decoding: a row of panels for each precision, a column for each case."""
    from matplotlib.figure import Figure

    figures = {(f["precision"], f["measure"]): f for f in found["figures"]}
    figures = {key: f for key, f in figures.items() if f["measure"].startswith("decode")}
    titles = list(dict.fromkeys(title for f in figures.values() for title in f["sides"]))
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*figures, strict=True))
    drawing = Figure(figsize=(2 + 2 * len(columns), 1 + 2 * len(rows)), layout="constrained")
    panels = drawing.subplots(len(rows), len(columns), squeeze=False)
    for row, precision in zip(panels, rows, strict=True):
        row[0].set_ylabel(f"{precision}, tokens/s")
        for panel, measure in zip(row, columns, strict=True):
            if figure := figures.get((precision, measure)):
                _panel(panel, figure, titles)
            else:
                panel.set_axis_off()
    for panel, measure in zip(panels[0], columns, strict=True):
        panel.set_title(measure.removeprefix("decode, "), fontsize="medium")
    colors = [panels[0, 0].bar(0, 0, color=f"C{number}") for number in range(len(titles))]
    drawing.legend(colors, titles, loc="outside lower center", ncols=4)
    drawing.suptitle(found["title"])
    drawing.savefig(file, dpi=90, metadata={"Software": None})


def _panel(panel: Axes, figure: Mapping[str, Any], titles: Sequence[str]) -> None:
    """A bar for each side, with its lowest and highest value; the bound, unless it is far off."""
    samples = {title: s for title, s in figure["sides"].items() if isinstance(s, dict)}
    for title, sample in samples.items():
        number, middle = titles.index(title), sample["median"]
        ends = [[middle - sample["low"]], [sample["high"] - middle]]
        panel.bar(number, middle, yerr=ends, color=f"C{number}")
    panel.set_xlim(-0.7, len(titles) - 0.3)
    panel.set_xticks([])
    if samples:
        panel.set_ylim(0, HEADROOM * max(sample["high"] for sample in samples.values()))
    if figure["bound"]:
        panel.axhline(figure["bound"]["median"], color="black", linestyle="dashed")
