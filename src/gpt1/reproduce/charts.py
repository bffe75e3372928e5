"""Pictures of the reproduction, with the paper's values laid over ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gpt1.reproduce.paper_report import Ink, new_figure
from gpt1.reproduce.scores import Row, Spread

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_rows(rows: Sequence[Row], names: Mapping[str, str], ink: Ink) -> Figure:
    """The figures of a table: a line each, with the paper's and ours on it.

    Args:
        rows: At least one.
        names: Of the variants, for people.
        ink: Colours.
    """
    names = {v: name for v, name in names.items() if any(v in row.scores for row in rows)}
    figure = new_figure(8.5, 1.5 + 0.62 * len(rows))
    axes = figure.subplots()
    styled(axes, ink)
    for place, row in enumerate(reversed(rows)):
        axes.scatter(row.result.gpt1, place, marker="D", s=46, color=ink.text, zorder=3)
        axes.scatter(row.result.earlier, place, marker="|", s=120, color=ink.faint, zorder=3)
        for number, variant in enumerate(names):
            if variant in row.scores:
                offset = 0.15 * ((len(names) - 1) / 2 - number)
                spread_at(axes, row.scores[variant], place + offset, ink.series[number])
    axes.set_yticks(range(len(rows)), [f"{r.label}, {r.result.metric}" for r in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("per cent: the median of the seeds, and a line from the least to the most")
    handles: list[Artist] = [axes.scatter([], [], marker="D", s=46, color=ink.text)]
    handles += [axes.scatter([], [], marker="|", s=120, color=ink.faint)]
    handles += [axes.scatter([], [], s=46, color=ink.series[n]) for n in range(len(names))]
    legend(figure, handles, ["paper, GPT-1", "paper, best before", *names.values()], ink)
    return figure


def spread_at(axes: Axes, spread: Spread, place: float, colour: str) -> None:
    """A dot at the median, and a line over the seeds."""
    ends = [min(spread.values), max(spread.values)]
    axes.plot(ends, [place, place], color=colour, linewidth=2, alpha=0.6)
    axes.scatter(spread.median, place, s=34, color=colour, zorder=4)


def styled(axes: Axes, ink: Ink) -> None:
    """Axes in the colours of the page."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(ink.faint)
    axes.tick_params(colors=ink.text, which="both")
    axes.xaxis.label.set_color(ink.text)
    axes.yaxis.label.set_color(ink.text)
    axes.title.set_color(ink.text)
    axes.grid(alpha=0.25, color=ink.faint)
    axes.set_axisbelow(True)


def legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], ink: Ink) -> None:
    """One legend above all axes."""
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=3,
        frameon=False,
        labelcolor=ink.text,
    )
