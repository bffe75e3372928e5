"""The examples a task model is trained on and judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gpt1.config import TaskConfig, TaskSource, TrainingConfig
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.example import Example
from gpt1.tasks.own import own_task
from gpt1.tasks.reading import Examples, read_split
from gpt1.tasks.splitting import split_examples
from gpt1.tasks.task import Task, get_task

T = TypeVar("T")

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


def read_task_data(
    source: TaskSource,
    *,
    task: Task | None = None,
    valid_fraction: float = TaskConfig.valid_fraction,
    seed: int = TrainingConfig.seed,
    note: Callable[[str], None] = lambda message: None,
) -> TaskData:
    """Read the examples a model is fine-tuned on.

    Args:
        source: Which examples.
        task: What they are for, where that is written in Python. Default: as the source tells.
        valid_fraction: Share of the training examples held out where the data has no split to
            validate on; 0: none.
        seed: Of that.
        note: Told how many examples there are, and what is wrong with the other rows.

    Returns:
        The examples that have a label.

    Raises:
        ConfigError: If the task is unknown, or an option is not for it.
        DataError: If the data cannot be read, or no training example has a label.
    """
    if task is None:
        task = source_task(source)
    else:
        source = replace(source, task=task.name)
        _refuse_columns(source)
    train = _labelled(read_split(task, source.data, "train"), note)
    valid = _validation(task, source, note)
    if valid is None and valid_fraction:
        train, valid = split_examples(train, valid_fraction, seed)
        note(f"{len(valid):,} training examples are held out to validate on")
    return TaskData(
        task=task,
        train=train.examples,
        valid=valid.examples if valid else (),
        source=asdict(source),
    )


def source_task(source: TaskSource) -> Task:
    """The task of the paper that is named, or one's own, as the columns tell.

    Raises:
        ConfigError: If the task is unknown, or columns are given for a task of the paper.
        DataError: If the columns cannot be understood.
    """
    if source.task is None:
        layout = source.layout or "pair"
        return own_task(source.data, parse_columns(source.columns), layout=layout)
    _refuse_columns(source)
    return get_task(source.task)


def _refuse_columns(source: TaskSource) -> None:
    """A task knows its columns and its layout."""
    if source.columns or source.layout:
        raise ConfigError(
            f"columns and layout are for data of your own, but the task is {source.task!r}; "
            "leave out one or the other"
        )


def parse_columns(columns: str | None) -> dict[str, str] | None:
    """A mapping from "text=review,label=stars".

    Raises:
        ConfigError: If it is not of this form.
    """
    if columns is None:
        return None
    pairs = [part.partition("=") for part in columns.split(",")]
    if not all(role.strip() and name.strip() for role, _, name in pairs):
        raise ConfigError(
            f'columns is {columns!r} but must be like "text=review,label=stars": what it is, and '
            "the name of the column"
        )
    return {role.strip(): name.strip() for role, _, name in pairs}


def _validation(task: Task, source: TaskSource, note: Callable[[str], None]) -> Examples | None:
    if source.valid_data is not None:
        return _labelled(read_split(task, source.valid_data, "dev"), note)
    if Path(source.data).is_file():
        return None
    try:
        examples = read_split(task, source.data, "dev")
    except DataError as error:
        note(f"no validation split: {error}")
        return None
    return _labelled(examples, note)


def _labelled(examples: Examples, note: Callable[[str], None]) -> Examples:
    """Those with a label."""
    note(examples.summary())
    if not examples.unlabelled:
        return examples
    if examples.unlabelled == len(examples):
        raise DataError(f"{examples.split}: no example has a label; check the column of the label")
    return examples.select([n for n, e in enumerate(examples.examples) if e.label is not None])


def subset(examples: Sequence[T], size: int | None) -> Sequence[T]:
    """So many of the examples, the same ones each time, in their order; None: all."""
    if size is None or size >= len(examples):
        return examples
    chosen = np.random.default_rng(SUBSET_SEED).permutation(len(examples))[:size]
    return [examples[number] for number in np.sort(chosen)]
