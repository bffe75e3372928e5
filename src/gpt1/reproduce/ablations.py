"""Table 5 of the paper: what pre-training, the auxiliary loss and the Transformer are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from gpt1.reproduce.charts import legend, styled
from gpt1.reproduce.paper import ABLATIONS, GLUE, GLUE_LABELS, TITLES, Ablation
from gpt1.reproduce.paper_report import Grid, Ink, Section, new_figure
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Runs
from gpt1.reproduce.scores import Row, Spread
from gpt1.reproduce.tables import NAMES, available, protocol_grid, run_rows, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_LSTM = (
    "LSTM: not run, no --lstm is given; pre-train one with gpt1 pretrain --config recipes/lstm.yaml"
)


@dataclass(frozen=True)
class AblationRow:
    """A row of table 5, theirs and ours.

    Attributes:
        paper: What the paper reports.
        tasks: Those of `GLUE` that were run.
        scores: Of each of them; empty if the variant was not run.
    """

    paper: Ablation
    tasks: Sequence[str]
    scores: Mapping[str, Spread]

    @property
    def paper_scores(self) -> dict[str, float]:
        """The paper's, by task."""
        return dict(zip(GLUE, self.paper.scores, strict=True))

    @property
    def paper_mean(self) -> float:
        """As printed, or over the tasks that were run if these are fewer."""
        if len(self.tasks) == len(GLUE):
            return self.paper.mean
        return fmean(self.paper_scores[task] for task in self.tasks)

    @property
    def mean(self) -> Spread | None:
        """Unweighted mean over the tasks, of each seed."""
        if not self.scores:
            return None
        columns = zip(*(self.scores[task].values for task in self.tasks), strict=True)
        return Spread(tuple(map(fmean, columns)))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "variant": self.paper.variant,
            "label": self.paper.label,
            "paper_mean": self.paper_mean,
            "paper": {task: self.paper_scores[task] for task in self.tasks},
            "mean": None if self.mean is None else self.mean.as_dict(),
            "ours": {task: spread.as_dict() for task, spread in self.scores.items()},
        }


def ablation_section(config: ReproduceConfig, runs: Runs) -> Section:
    """Run what table 5 needs, and lay it beside the paper's.

    Args:
        config: With its defaults filled in.
        runs: Where results are kept.

    Raises:
        DataError: If there are no data of any of its tasks.
    """
    tasks, absent = available(GLUE, config)
    variants = [row.variant for row in ABLATIONS if row.variant != "lstm" or config.lstm]
    found = run_rows(tasks, variants, config, runs)
    rows = [AblationRow(paper, tasks, task_scores(found, paper.variant)) for paper in ABLATIONS]
    remarks = [
        f"{task}: not run, there are no data of it; it is not in the means" for task in absent
    ]
    remarks += [] if config.lstm else [NO_LSTM]
    remarks.append(f"MNLI is {mnli_is(found)}; the paper's is the mean of both halves.")
    return Section(
        name="table5",
        title=TITLES["table5"],
        summary=_summary(rows),
        grids=[_grid(rows, tasks), protocol_grid(found, variants)],
        remarks=remarks,
        drawings={"table5": partial(draw_ablations, rows)},
        data={
            "ablations": [row.as_dict() for row in rows],
            "rows": [row.as_dict() for row in found],
            "not_run": absent,
        },
    )


def task_scores(rows: Sequence[Row], variant: str) -> dict[str, Spread]:
    """One score a task of a variant: of MNLI the mean over its halves that were run."""
    by_task: dict[str, list[tuple[float, ...]]] = {}
    for row in rows:
        if variant in row.scores:
            by_task.setdefault(row.task.name, []).append(row.scores[variant].values)
    return {
        task: Spread(tuple(map(fmean, zip(*found, strict=True)))) for task, found in by_task.items()
    }


def mnli_is(rows: Sequence[Row]) -> str:
    """Which halves of MNLI there are, in words."""
    halves = [row.label for row in rows if row.task.name == "mnli" and row.split]
    return (
        "the mean of both halves" if len(halves) == 2 else f"{' '.join(halves) or 'absent'} alone"
    )


def _summary(rows: Sequence[AblationRow]) -> list[str]:
    full = rows[0]
    if full.mean is None:
        return []
    lines = []
    for row in rows[1:]:
        if row.mean is not None:
            ours, paper = row.mean.median - full.mean.median, row.paper_mean - full.paper_mean
            lines.append(
                f"{row.paper.label}: {ours:+.1f} points of the mean against the full model; in the "
                f"paper {paper:+.1f}."
            )
    return lines


def _grid(rows: Sequence[AblationRow], tasks: Sequence[str]) -> Grid:
    lines = []
    for row in rows:
        paper = [f"{row.paper_scores[task]:.1f}" for task in tasks]
        lines.append([row.paper.label, "paper", f"{row.paper_mean:.1f}", *paper])
        ours = [shown(row.scores.get(task)) for task in tasks]
        lines.append(["", "ours", shown(row.mean), *ours])
    return Grid(("", "", "mean", *(GLUE_LABELS[task] for task in tasks)), lines)


def draw_ablations(rows: Sequence[AblationRow], ink: Ink) -> Figure:
    """What each ablation changes on each task, in the paper and here.

    Args:
        rows: Of table 5, the full model first.
        ink: Colours.
    """
    full, *others = rows
    figure = new_figure(9.5, 3.8)
    panels = figure.subplots(1, len(others), sharey=True)
    places = range(len(full.tasks) + 1)
    for axes, row in zip(panels, others, strict=True):
        styled(axes, ink)
        axes.axhline(0, color=ink.faint, linewidth=1)
        paper = [row.paper_mean - full.paper_mean]
        paper += [row.paper_scores[task] - full.paper_scores[task] for task in full.tasks]
        axes.scatter(places, paper, marker="D", s=34, color=ink.text, zorder=3)
        if row.mean and full.mean:
            ours = [row.mean.median - full.mean.median]
            ours += [row.scores[task].median - full.scores[task].median for task in full.tasks]
            axes.scatter(places, ours, s=44, color=ink.series[0], zorder=4, alpha=0.85)
        axes.set_title(row.paper.label if row.mean else f"{row.paper.label}: not run", fontsize=9)
        axes.set_xticks(places, ["mean", *(GLUE_LABELS[task] for task in full.tasks)], rotation=60)
    panels[0].set_ylabel("points against the full model")
    handles = [
        panels[0].scatter([], [], marker="D", s=34, color=ink.text),
        panels[0].scatter([], [], s=44, color=ink.series[0]),
    ]
    legend(figure, handles, ["paper", f"{NAMES['full']}, medians"], ink)
    return figure
