"""The rows of a table: what the paper says, what came of our runs, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np

from gpt1.reproduce.paper import GLUE, SIZES
from gpt1.reproduce.runs import Outcome
from gpt1.tasks.task import Result, Task


@dataclass(frozen=True)
class Spread:
    """The figures of several seeds, in percent.

    Attributes:
        values: One a seed, in their order.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the seeds."""
        return median(self.values)

    @property
    def iqr(self) -> float:
        """Distance of the quartiles."""
        low, high = np.percentile(self.values, [25, 75])
        return float(high - low)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.median:.1f}"
        return f"{self.median:.1f} ({min(self.values):.1f} to {max(self.values):.1f})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        low, high = np.percentile(self.values, [25, 75])
        return {
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "quartiles": [float(low), float(high)],
            "values": list(self.values),
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of the paper, and ours of each variant.

    Attributes:
        task: Its name.
        result: What the paper reports.
        split: That ours is of; empty if the data has none for it.
        outcomes: Of each variant, one a seed.
        rates: Learning rate of each variant that has one.
    """

    task: Task
    result: Result
    split: str
    outcomes: Mapping[str, Sequence[Outcome]]
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Of the paper's row."""
        return self.result.label

    @cached_property
    def scores(self) -> dict[str, Spread]:
        """Of each variant that was run."""
        if not self.split:
            return {}
        key = f"{self._part(self.split)}:{self.result.metric}"
        return {
            variant: Spread(tuple(100 * outcome.figures[key] for outcome in outcomes))
            for variant, outcomes in self.outcomes.items()
            if outcomes and key in outcomes[0].figures
        }

    def _part(self, split: str) -> str:
        return f"{split}/{self.result.part}" if self.result.part else split

    @property
    def example(self) -> Outcome:
        """Any outcome: the counts are the same in all."""
        return next(outcomes[0] for outcomes in self.outcomes.values() if outcomes)

    @property
    def n(self) -> int:
        """Examples that were scored."""
        return self.example.counts[self._part(self.split)] if self.split else 0

    @property
    def n_train(self) -> int:
        """Examples trained on."""
        return self.example.counts["train"]

    @property
    def n_choose(self) -> int:
        """Examples that picked the epoch."""
        return self.example.counts["dev"]

    def difference(self, variant: str, other: str) -> float | None:
        """Of the medians, in points; None if one was not run."""
        scores = self.scores
        if variant not in scores or other not in scores:
            return None
        return scores[variant].median - scores[other].median

    def minutes(self, variant: str) -> float:
        """That a run of a variant took, the median of the seeds."""
        return median(outcome.seconds for outcome in self.outcomes[variant]) / 60

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        official_train, official = SIZES[self.label]
        return {
            "label": self.label,
            "task": self.task.name,
            "metric": self.result.metric,
            "paper": self.result.gpt1,
            "best_earlier": self.result.earlier,
            "split": self.split or None,
            "n": self.n,
            "n_official": official,
            "n_train": self.n_train,
            "n_train_official": official_train,
            "n_choose": self.n_choose,
            "ours": {variant: spread.as_dict() for variant, spread in self.scores.items()},
            "learning_rates": dict(self.rates),
            "minutes": {variant: self.minutes(variant) for variant in self.outcomes},
            "details": {
                variant: dict(outcomes[0].details)
                for variant, outcomes in self.outcomes.items()
                if outcomes and outcomes[0].details
            },
            "why": why_different(self),
        }


def rows_of(
    task: Task, outcomes: Mapping[str, Sequence[Outcome]], rates: Mapping[str, float]
) -> list[Row]:
    """A row for each figure of the paper of a task.

    Where the data has no test split, the development set stands for it.

    Args:
        task: Of the outcomes.
        outcomes: Of each variant, one a seed.
        rates: Learning rate of each variant that has one.
    """
    counts = next(found[0].counts for found in outcomes.values() if found)
    rows = []
    for result in task.results:
        split = result.split if result.split in counts else ""
        if not split and result.split == "test":
            split = "dev"
        rows.append(Row(task=task, result=result, split=split, outcomes=outcomes, rates=rates))
    return rows


def why_different(row: Row) -> list[str]:
    """Reasons, beyond the model, why our figure may differ from the paper's.

    Args:
        row: With at least one outcome.
    """
    if not row.split:
        return [f"not scored: the data has no split {row.result.split}"]
    official_train, official = SIZES[row.label]
    reasons = []
    if row.task.name in GLUE:
        reasons.append("the paper's is of GLUE's private test set, ours of the development set")
    elif row.split != row.result.split:
        reasons.append("the data has no test split, so ours is of the development set")
    if row.split == "dev":
        reasons.append("the same examples picked the epoch")
    if row.task.name == "qnli":
        reasons.append("QNLI was made anew in 2019: the paper's is of the first release")
    if row.task.name == "storycloze":
        reasons.append("the paper's is its best run; the median of its authors' 10 runs is 85.8")
    if row.n < official:
        reasons.append(f"{row.n:,} of the {official:,} official examples are scored")
    if row.n_train < official_train:
        reasons.append(f"{row.n_train:,} of {official_train:,} training examples")
    truncated = str(row.example.details.get("truncation", ""))
    if "too long" in truncated and not truncated.startswith("no "):
        reasons.append(truncated)
    return reasons
