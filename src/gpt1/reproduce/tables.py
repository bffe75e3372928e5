"""Tables 2 to 4 of the paper: what is run for them, and how they read beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import comb
from pathlib import Path

from gpt1.errors import DataError
from gpt1.reproduce.charts import draw_rows
from gpt1.reproduce.experiments import BASELINES, Experiment, plan
from gpt1.reproduce.paper import MAIN_LABELS, TABLES, TITLES
from gpt1.reproduce.paper_report import Grid, Section
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Outcome, Runs
from gpt1.reproduce.scores import Row, Spread, rows_of
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

Rates = dict[tuple[str, str], float]
"""Learning rate of each task and variant."""


def table_section(name: str, config: ReproduceConfig, runs: Runs) -> Section:
    """Run what a table of results needs, and lay it beside the paper's.

    Args:
        name: "table2", "table3" or "table4".
        config: With its defaults filled in.
        runs: Where results are kept.

    Raises:
        DataError: If there are no data of any of its tasks.
    """
    tasks, absent = available(TABLES[name], config)
    variants = ("full", *(config.beside or ()))
    rows = run_rows(tasks, variants, config, runs)
    return Section(
        name=name,
        title=TITLES[name],
        summary=[line for v in variants[1:] for line in ahead(rows, "full", v)],
        grids=[results_grid(rows, variants), protocol_grid(rows, variants)],
        remarks=[f"{task}: not run, there are no data of it" for task in absent],
        drawings={name: partial(draw_rows, rows, {v: NAMES[v] for v in variants})},
        data={"rows": [row.as_dict() for row in rows], "not_run": absent},
    )


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


def ahead(rows: Sequence[Row], variant: str, other: str) -> list[str]:
    """On how many tasks a variant is ahead of another, as a sentence; none without a comparison.

    Args:
        rows: Of a table or several.
        variant: Which.
        other: Than which.
    """
    gaps = {row.label: row.difference(variant, other) for row in main_rows(rows)}
    known = {label: gap for label, gap in gaps.items() if gap is not None}
    if not known:
        return []
    wins, losses = sum(gap > 0 for gap in known.values()), sum(gap < 0 for gap in known.values())
    seeds = max(len(row.outcomes[variant]) for row in rows)
    shown = ", ".join(f"{label} {gap:+.1f}" for label, gap in known.items())
    return [
        f"{NAMES[variant].capitalize()} is ahead of {NAMES[other]} on {wins} of {len(known)} tasks "
        f"(medians of {seeds} seed{'s' * (seeds != 1)}; a sign test gives p = "
        f"{sign_test(wins, losses):.2g}): {shown}."
    ]


def sign_test(wins: int, losses: int) -> float:
    """How likely such a lead, or a larger one either way, is if each side were as likely to win."""
    total, most = wins + losses, max(wins, losses)
    tail = sum(comb(total, k) for k in range(most, total + 1))
    return min(1.0, 2 * tail / float(2**total))


def results_grid(rows: Sequence[Row], variants: Sequence[str]) -> Grid:
    """Paper, best before, and ours with its spread."""
    return Grid(
        ("", "metric", "best before", "paper", *(NAMES[v] for v in variants), "split", "n"),
        [
            (
                row.label,
                row.result.metric,
                f"{row.result.earlier:.1f}",
                f"{row.result.gpt1:.1f}",
                *(shown(row.scores.get(variant)) for variant in variants),
                row.split or "-",
                f"{row.n:,}",
            )
            for row in rows
        ],
    )


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
                _each(networks, {v: f"{row.minutes(v) or 0:.1f}" for v in networks}),
                "; ".join(row.as_dict()["why"]),
            )
            for row in rows
        ],
    )


def _each(variants: Sequence[str], values: Mapping[str, str]) -> str:
    """One value if it is the same for all variants, else each with its name."""
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return ", ".join(f"{NAMES[variant]} {values[variant]}" for variant in variants)
