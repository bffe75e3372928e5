"""Tables 2 to 4 of the paper: what is run for them, and how they read beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import comb
from pathlib import Path

from gpt1.errors import DataError
from gpt1.reproduce.charts import draw_rows
from gpt1.reproduce.experiments import BASELINES, Experiment, plan
from gpt1.reproduce.paper import GLUE_SCORE, MAIN_LABELS, TABLES, TITLES
from gpt1.reproduce.paper_report import Grid, Section
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Outcome, Runs
from gpt1.reproduce.scores import Row, Spread, rows_of, why_different
from gpt1.tasks.hub_rows import hub_place
from gpt1.tasks.locating import locate
from gpt1.tasks.task import get_task

NAMES = {
    "full": "ours",
    "scratch": "same network from scratch",
    "no_lm": "without auxiliary LM",
    "lstm": "LSTM",
    "tfidf": "TF-IDF + logistic regression",
    "majority": "most frequent answer",
}
"""Of the variants, for people."""

OTHERS = {
    "scratch": "the same network from scratch",
    "tfidf": "TF-IDF with logistic regression",
    "majority": "the most frequent answer",
}
"""The same in a sentence."""

NO_GLUE_SCORE = (
    "GLUE's own score ({:.1f} in the paper, {:.1f} the best before) is not computed: it takes WNLI "
    "and the private test sets. The mean of the eight other tasks is in table 5."
)

Rates = dict[tuple[str, str], float]
"""Learning rate of each task and variant."""


def table_rows(name: str, config: ReproduceConfig, runs: Runs) -> tuple[list[Row], list[str]]:
    """Run what a table of results needs.

    Args:
        name: "table2", "table3" or "table4".
        config: With its defaults filled in.
        runs: Where results are kept.

    Returns:
        Its rows, and the tasks there are no data of.

    Raises:
        DataError: If there are no data of any of its tasks.
    """
    tasks, absent = available(TABLES[name], config)
    return run_rows(tasks, variants_of(config), config, runs), absent


def variants_of(config: ReproduceConfig) -> tuple[str, ...]:
    """The columns of ours: the model, and what stands beside it."""
    return ("full", *(config.beside or ()))


def table_section(
    name: str, rows: Sequence[Row], absent: Sequence[str], variants: Sequence[str]
) -> Section:
    """A table of results, ours beside the paper's.

    Args:
        name: "table2", "table3" or "table4".
        rows: From `table_rows`.
        absent: Tasks that were not run.
        variants: The columns of ours; one that no row has is left out.
    """
    variants = [v for v in variants if any(v in row.scores for row in rows)]
    remarks = [f"{task}: not run, there are no data of it" for task in absent]
    if name == "table4":
        remarks.append(NO_GLUE_SCORE.format(*GLUE_SCORE))
    return Section(
        name=name,
        title=TITLES[name],
        summary=summary(rows, variants),
        grids=[results_grid(rows, variants), protocol_grid(rows, variants)],
        remarks=remarks,
        drawings={name: partial(draw_rows, rows, {v: NAMES[v] for v in variants})},
        data={"rows": [row.as_dict() for row in rows], "not_run": list(absent)},
    )


def summary(rows: Sequence[Row], variants: Sequence[str]) -> list[str]:
    """A sentence for each variant that the model can be compared with."""
    found = [ahead(rows, variant) for variant in OTHERS if variant in variants]
    return [line for line in found if line]


def available(
    tasks: Sequence[str], config: ReproduceConfig, splits: Sequence[str] = ("train", "dev")
) -> tuple[list[str], list[str]]:
    """Which tasks have data, of those that are wanted; and which have none.

    Raises:
        DataError: If none has.
    """
    wanted = [task for task in tasks if not config.tasks or task in config.tasks]
    problems: dict[str, DataError] = {}
    for task in wanted:
        try:
            for split in splits:
                if hub_place(get_task(task), config.data, split) is None:
                    locate(get_task(task), Path(config.data), split)
        except DataError as error:
            problems[task] = error
    if problems and len(problems) == len(wanted):
        raise next(iter(problems.values()))
    if not wanted:
        raise DataError(f"none of the tasks {', '.join(config.tasks)} is of this table or figure")
    return [task for task in wanted if task not in problems], list(problems)


def run_rows(
    tasks: Sequence[str], variants: Sequence[str], config: ReproduceConfig, runs: Runs
) -> list[Row]:
    """Run some variants of some tasks with all seeds.

    Args:
        tasks: Their names.
        variants: As for `gpt1.reproduce.experiments.Experiment`.
        config: With its defaults filled in.
        runs: Where results are kept.

    Returns:
        A row for each figure of the paper of these tasks.
    """
    rates = settle_rates(tasks, variants, config, runs)
    experiments = plan(tasks, variants, config, rates)
    found: dict[str, dict[str, list[Outcome]]] = {t: {v: [] for v in variants} for t in tasks}
    for experiment, outcome in zip(experiments, runs.results(experiments), strict=True):
        found[experiment.task][experiment.variant].append(outcome)
    return [
        row
        for task, outcomes in found.items()
        for row in rows_of(
            get_task(task), outcomes, {v: rates[task, v] for v in variants if (task, v) in rates}
        )
    ]


def settle_rates(
    tasks: Sequence[str], variants: Sequence[str], config: ReproduceConfig, runs: Runs
) -> Rates:
    """The learning rate of each task and variant: of several, the best of the first seed.

    Args:
        tasks: Their names.
        variants: Baselines among them have no rate.
        config: With its defaults filled in.
        runs: Where results are kept.

    Returns:
        Of equally good rates, the one named first.
    """
    cases = [(task, v) for task in tasks for v in variants if v not in BASELINES]
    if len(config.rates) == 1:
        return dict.fromkeys(cases, config.rates[0])
    trials = [Experiment(*case, config.seed, lr, config) for case in cases for lr in config.rates]
    best: dict[tuple[str, str], tuple[float, float]] = {}
    for trial, outcome in zip(trials, runs.results(trials), strict=True):
        figure = outcome.figures[f"dev:{get_task(trial.task).metrics[0]}"]
        case = trial.task, trial.variant
        if case not in best or figure > best[case][0]:
            best[case] = figure, trial.lr
    return {case: lr for case, (_, lr) in best.items()}


def main_rows(rows: Sequence[Row]) -> list[Row]:
    """One row a task."""
    return [row for row in rows if MAIN_LABELS.get(row.task.name, row.label) == row.label]


def ahead(rows: Sequence[Row], other: str) -> str:
    """On how many tasks the model is ahead of a variant, as a sentence.

    Args:
        rows: Of a table or several.
        other: One of `OTHERS`.

    Returns:
        Empty if there is nothing to compare.
    """
    gaps = {row.label: row.difference("full", other) for row in main_rows(rows)}
    known = {label: gap for label, gap in gaps.items() if gap is not None}
    if not known:
        return ""
    wins, losses = sum(gap > 0 for gap in known.values()), sum(gap < 0 for gap in known.values())
    seeds = max(len(row.outcomes["full"]) for row in rows)
    ties = f", level on {len(known) - wins - losses}" if wins + losses < len(known) else ""
    return (
        f"The model is ahead of {OTHERS[other]} on {wins} of {len(known)} tasks{ties} (medians of "
        f"{seeds} seed{'s' * (seeds != 1)}, sign test p = {sign_test(wins, losses):.2g}): "
        + ", ".join(f"{label} {gap:+.1f}" for label, gap in known.items())
        + "."
    )


def sign_test(wins: int, losses: int) -> float:
    """How likely such a lead, or a larger one either way, is if each side were as likely to win."""
    total, most = wins + losses, max(wins, losses)
    tail = sum(comb(total, k) for k in range(most, total + 1))
    return min(1.0, 2 * tail / float(2**total))


def results_grid(rows: Sequence[Row], variants: Sequence[str]) -> Grid:
    """Paper, best before, ours with its spread, and how far it is ahead of no pre-training."""
    gap = ("ahead of scratch",) if "scratch" in variants else ()
    columns = ("", "metric", "best before", "paper", *(NAMES[v] for v in variants), *gap)
    return Grid(
        (*columns, "split", "n"),
        [
            (
                row.label,
                row.result.metric,
                f"{row.result.earlier:.1f}",
                f"{row.result.gpt1:.1f}",
                *(shown(row.scores.get(variant)) for variant in variants),
                *(signed(row.difference("full", "scratch")) for _ in gap),
                row.split or "-",
                f"{row.n:,}",
            )
            for row in rows
        ],
    )


def signed(gap: float | None) -> str:
    """For people: points with their sign."""
    return "-" if gap is None else f"{gap:+.1f}"


def shown(spread: Spread | None) -> str:
    """For people; what was not run is a dash."""
    return "-" if spread is None else str(spread)


def protocol_grid(rows: Sequence[Row], variants: Sequence[str]) -> Grid:
    """How each number was made, and why it may differ."""
    networks = [variant for variant in variants if variant not in BASELINES]
    return Grid(
        ("", "trained on", "epoch picked on", "rate", "minutes", "why ours may differ"),
        [
            (
                row.label,
                f"{row.n_train:,}",
                f"{row.n_choose:,} dev",
                _each(networks, {v: f"{row.rates[v]:g}" for v in networks}),
                _each(networks, {v: f"{row.minutes(v):.1f}" for v in networks}),
                "; ".join(why_different(row)),
            )
            for row in rows
        ],
    )


def _each(variants: Sequence[str], values: Mapping[str, str]) -> str:
    """One value if it is the same for all variants, else each with its name."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{NAMES[variant]} {values[variant]}" for variant in variants)
