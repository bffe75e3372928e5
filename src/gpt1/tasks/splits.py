"""The examples a task model is trained on and judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpt1.tasks.example import Example
from gpt1.tasks.task import Task

SUBSET_SEED = 0
"""Which examples a subset has does not depend on the seed of the run."""


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Labelled examples of a task.

    Attributes:
        task: What it is.
        train: To train on.
        valid: To pick the checkpoint by; empty: the last weights are kept.
        source: Where they are from, as plain data for the settings of a run.
    """

    task: Task
    train: Sequence[Example]
    valid: Sequence[Example] = ()
    source: Mapping[str, Any] = field(default_factory=dict)


def subset(examples: Sequence[Example], size: int | None) -> Sequence[Example]:
    """So many of the examples, the same ones each time, in their order; None: all."""
    if size is None or size >= len(examples):
        return examples
    chosen = np.random.default_rng(SUBSET_SEED).permutation(len(examples))[:size]
    return [examples[number] for number in np.sort(chosen)]
