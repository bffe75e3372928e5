"""Figure 2 of the paper: transfer of the first blocks, and zero-shot scores along pre-training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gpt1.errors import DataError
from gpt1.evaluation.zero_shot import normalised
from gpt1.evaluation.zero_shot_data import find_tasks
from gpt1.evaluation.zero_shot_rules import RULES
from gpt1.reproduce.charts import styled
from gpt1.reproduce.experiments import plan
from gpt1.reproduce.paper import (
    TITLES,
    TRANSFER_ENDS,
    TRANSFER_TASKS,
    ZERO_SHOT_ENDS,
    ZERO_SHOT_TASKS,
)
from gpt1.reproduce.paper_report import Drawing, Grid, Ink, Section, new_figure
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Outcome, Runs
from gpt1.reproduce.scores import Spread
from gpt1.reproduce.tables import available, settle_rates, shown
from gpt1.reproduce.zero_shot_runs import ZeroShotReading, find_snapshots
from gpt1.tasks.task import get_task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_EMBEDDINGS = -1
"""Stands for the mode in which not even the embeddings are transferred."""

SECOND_HAND = (
    "The paper prints no values for this figure: those laid over ours were read off its plots by "
    "others, to about one point or 0.02."
)
BEST_UNKNOWN = (
    "{task} is scaled so that 1 is all answers right, because the paper does not name the best "
    "single model; its curve is not to be compared with the paper's value."
)


@dataclass(frozen=True)
class Transfer:
    """Development accuracy of a task by number of transferred blocks.

    Attributes:
        task: Its name.
        scores: By number of blocks; `NO_EMBEDDINGS` is the mode without embeddings.
        counts: Examples trained on and scored.
    """

    task: str
    scores: dict[int, Spread]
    counts: tuple[int, int]


@dataclass(frozen=True)
class Course:
    """Zero-shot scores of one model along its pre-training.

    Attributes:
        model: "Transformer" or "LSTM".
        task: Its name.
        metric: Of the score.
        points: Updates, score and chance, as fractions.
        n: Examples scored.
    """

    model: str
    task: str
    metric: str
    points: list[tuple[int, float, float]]
    n: int

    @property
    def scaled(self) -> list[tuple[int, float]]:
        """Updates, and the score on the scale of the figure."""
        best = RULES[self.task].best or 1.0
        return [(step, normalised(score, chance, best)) for step, score, chance in self.points]


def figure2_section(config: ReproduceConfig, blocks: int, runs: Runs) -> Section:
    """Run what figure 2 needs, and draw it beside the paper's values.

    Args:
        config: With its defaults filled in.
        blocks: Of the model.
        runs: Where results are kept.

    Raises:
        DataError: If there are no data, or no snapshots in a folder of a run.
    """
    transfers = run_transfers(config, blocks, runs) if config.panel != "right" else []
    courses = run_courses(config, runs) if config.panel != "left" else []
    remarks = [SECOND_HAND]
    if config.panel != "left" and not courses:
        remarks.append("Right: not run, no --checkpoints is given.")
    unscaled = [c.task for c in courses if RULES[c.task].best is None]
    remarks += [BEST_UNKNOWN.format(task=task) for task in dict.fromkeys(unscaled)]
    drawings: dict[str, Drawing] = {}
    grids = []
    if transfers:
        drawings["figure2-left"] = partial(draw_transfers, transfers, blocks)
        grids.append(_transfer_grid(transfers))
    if courses:
        drawings["figure2-right"] = partial(draw_courses, courses)
        grids.append(_course_grid(courses))
    return Section(
        name="figure2",
        title=TITLES["figure2"],
        summary=_summary(transfers, blocks),
        grids=grids,
        remarks=remarks,
        drawings=drawings,
        data=_data(transfers, courses),
    )


def run_transfers(config: ReproduceConfig, blocks: int, runs: Runs) -> list[Transfer]:
    """Fine-tune with every number of transferred blocks.

    Args:
        config: With its defaults filled in.
        blocks: Of the model.
        runs: Where results are kept.
    """
    tasks, _ = available(TRANSFER_TASKS, config)
    # What all blocks and nothing at all give is known from the tables.
    numbers = {f"transfer-{n}": n for n in range(blocks)}
    numbers |= {"scratch": NO_EMBEDDINGS, "full": blocks}
    rates = settle_rates(tasks, list(numbers), config, runs)
    experiments = plan(tasks, list(numbers), config, rates)
    found: dict[tuple[str, int], list[Outcome]] = {}
    for experiment, outcome in zip(experiments, runs.results(experiments), strict=True):
        found.setdefault((experiment.task, numbers[experiment.variant]), []).append(outcome)
    return [
        Transfer(
            task,
            {n: _spread(found[task, n], task) for n in sorted(numbers.values())},
            (found[task, 0][0].counts["train"], found[task, 0][0].counts["dev"]),
        )
        for task in tasks
    ]


def _spread(outcomes: Sequence[Outcome], task: str) -> Spread:
    key = f"dev:{get_task(task).metrics[0]}"
    return Spread(tuple(100 * outcome.figures[key] for outcome in outcomes))


def run_courses(config: ReproduceConfig, runs: Runs) -> list[Course]:
    """Score every snapshot of the given runs on every zero-shot task there are data of.

    Args:
        config: Names the folders of the runs.
        runs: Where results are kept.

    Raises:
        DataError: If a folder has no snapshots, or there are data of no task.
    """
    folders = {"Transformer": config.checkpoints, "LSTM": config.lstm_checkpoints}
    tasks = _zero_shot_tasks(config)
    readings = {
        (model, task): [
            ZeroShotReading(snapshot, task, config.data, config.dev_subset, config.device)
            for snapshot in find_snapshots(folder)
        ]
        for model, folder in folders.items()
        if folder
        for task in tasks
    }
    works = [reading for found in readings.values() for reading in found]
    outcomes = dict(zip(works, runs.results(works), strict=True))
    return [_course(*case, [outcomes[r] for r in found], found) for case, found in readings.items()]


def _zero_shot_tasks(config: ReproduceConfig) -> list[str]:
    found = []
    for task in ZERO_SHOT_TASKS:
        try:
            find_tasks(config.data, [task])
        except DataError:
            continue
        found.append(task)
    if not found:
        raise DataError(
            f"{config.data} has no folder of {', '.join(ZERO_SHOT_TASKS)}; check --data"
        )
    return found


def _course(
    model: str, task: str, outcomes: Sequence[Outcome], readings: Sequence[ZeroShotReading]
) -> Course:
    metric = "matthews" if RULES[task].threshold else "accuracy"
    points = [
        (reading.snapshot.step, outcome.figures[metric], outcome.figures["chance"])
        for reading, outcome in zip(readings, outcomes, strict=True)
    ]
    return Course(model, task, metric, points, outcomes[0].counts["scored"])


def _summary(transfers: Sequence[Transfer], blocks: int) -> list[str]:
    lines = []
    for transfer in transfers:
        none, all_ = transfer.scores[0].median, transfer.scores[blocks].median
        low, high = TRANSFER_ENDS[transfer.task]
        lines.append(
            f"{transfer.task}: all {blocks} blocks are worth {all_ - none:+.1f} points over the "
            f"embeddings alone; in the paper, with 12 blocks, about {high - low:+.0f}."
        )
    return lines


def _transfer_grid(transfers: Sequence[Transfer]) -> Grid:
    numbers = list(transfers[0].scores)
    names = ["no embeddings", *(f"{n} block{'s' * (n != 1)}" for n in numbers if n >= 0)]
    return Grid(
        ("dev accuracy", "trained on", "n", *names, "paper: none", "paper: all 12"),
        [
            (
                transfer.task,
                f"{transfer.counts[0]:,}",
                f"{transfer.counts[1]:,}",
                *(shown(transfer.scores[n]) for n in numbers),
                *(f"about {end:.0f}" for end in TRANSFER_ENDS[transfer.task]),
            )
            for transfer in transfers
        ],
    )


def _course_grid(courses: Sequence[Course]) -> Grid:
    return Grid(
        (
            "zero-shot",
            "model",
            "metric",
            "n",
            "updates: score (scaled)",
            "paper, scaled, at the end",
        ),
        [
            (
                course.task,
                course.model,
                course.metric,
                f"{course.n:,}",
                ", ".join(
                    f"{step:,}: {100 * score:.1f} ({scaled:.2f})"
                    for (step, score, _), (_, scaled) in zip(
                        course.points, course.scaled, strict=True
                    )
                ),
                f"about {ZERO_SHOT_ENDS[course.task]:.2f}" if course.model != "LSTM" else "-",
            )
            for course in courses
        ],
    )


def _data(transfers: Sequence[Transfer], courses: Sequence[Course]) -> dict[str, Any]:
    return {
        "transfer": [
            {
                "task": t.task,
                "metric": "accuracy",
                "split": "dev",
                "n_train": t.counts[0],
                "n": t.counts[1],
                "paper_about": dict(zip(("none", "all"), TRANSFER_ENDS[t.task], strict=True)),
                "blocks": {str(number): spread.as_dict() for number, spread in t.scores.items()},
            }
            for t in transfers
        ],
        "zero_shot": [
            {
                "task": c.task,
                "model": c.model,
                "metric": c.metric,
                "n": c.n,
                "best_single_model": RULES[c.task].best,
                "best_is": RULES[c.task].best_is,
                "paper_end_about": ZERO_SHOT_ENDS[c.task] if c.model != "LSTM" else None,
                "points": [
                    {"step": step, "score": score, "chance": chance, "scaled": scaled}
                    for (step, score, chance), (_, scaled) in zip(c.points, c.scaled, strict=True)
                ],
            }
            for c in courses
        ],
    }


def draw_transfers(transfers: Sequence[Transfer], blocks: int, ink: Ink) -> Figure:
    """Figure 2, left.

    Args:
        transfers: At least one.
        blocks: Of the model.
        ink: Colours.
    """
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    styled(axes, ink)
    for number, transfer in enumerate(transfers):
        colour, xs = ink.series[number], list(transfer.scores)
        low, high = ([f(s.values) for s in transfer.scores.values()] for f in (min, max))
        axes.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
        medians = [spread.median for spread in transfer.scores.values()]
        axes.plot(xs, medians, marker="o", color=colour, label=f"{transfer.task}, ours")
        ends = TRANSFER_ENDS[transfer.task]
        label = f"{transfer.task}, paper: ends, about"
        axes.plot([0, blocks], ends, "D--", color=colour, markersize=6, alpha=0.7, label=label)
    ticks = list(range(blocks + 1))
    axes.set_xticks([NO_EMBEDDINGS, *ticks], ["no\nembeddings", *map(str, ticks)])
    axes.set(xlabel=f"blocks transferred, of {blocks} (paper: of 12)", ylabel="dev accuracy, %")
    axes.legend(frameon=False, labelcolor=ink.text, fontsize=8)
    return figure


def draw_courses(courses: Sequence[Course], ink: Ink) -> Figure:
    """Figure 2, right.

    Args:
        courses: At least one.
        ink: Colours.
    """
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    styled(axes, ink)
    axes.axhline(0, color=ink.faint, linewidth=1)
    colours = dict(zip(ZERO_SHOT_TASKS, ink.series, strict=False))
    last = max(step for course in courses for step, _ in course.scaled)
    for course in courses:
        style = "--" if course.model == "LSTM" else "-"
        axes.plot(
            *zip(*course.scaled, strict=True),
            style,
            marker="o",
            markersize=3.5,
            color=colours[course.task],
            label=f"{course.task}, {course.model}",
        )
        if course.model != "LSTM":
            end = ZERO_SHOT_ENDS[course.task]
            axes.scatter(last * 1.15, end, marker="D", s=34, color=colours[course.task])
    axes.scatter([], [], marker="D", s=34, color=ink.text, label="paper, at the end, about")
    first = min((s for c in courses for s, _ in c.scaled if s > 0), default=1)
    axes.set_xscale("symlog", linthresh=first)
    axes.set(xlabel="updates of pre-training", ylabel="0: chance, 1: best single model")
    axes.legend(frameon=False, labelcolor=ink.text, fontsize=8, ncols=2)
    return figure
