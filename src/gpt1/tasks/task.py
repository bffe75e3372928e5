"""What a task is: a function from a row to an example, and what the paper says about it.

A task of one's own needs a name and the function::

    Task(name="spam", transform=lambda row: text(row["message"], row["label"]))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from gpt1.data.rows import BadRow
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.example import Example

Row: TypeAlias = Mapping[str, Any]
"""One row of a data file, by column."""

Rows: TypeAlias = Iterator[tuple[str, "Row | BadRow"]]
"""Rows, each with its place in the file for people, such as "line 12"."""

NAMES = (
    "cola",
    "sst2",
    "mrpc",
    "qqp",
    "stsb",
    "mnli",
    "qnli",
    "rte",
    "snli",
    "scitail",
    "race",
    "storycloze",
)
"""The tasks of the paper, each a module of this package with a `Task` called ``TASK``."""


class LeftOut(DataError):
    """What a transform raises for a row that is left out on purpose; its text says why."""


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """Where a task is on the Hugging Face hub.

    Attributes:
        dataset: Its id.
        config: Name of the subset, or None.
        splits: Our names of splits to theirs.
    """

    dataset: str
    config: str | None = None
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "dev": "validation", "test": "test"}
    )


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure of the paper's tables 2 to 4.

    Attributes:
        split: Ours: "dev", "dev_mismatched" or "test".
        metric: Its name in `gpt1.tasks.metrics`.
        gpt1: What the paper reports for GPT-1, in percent.
        earlier: The best result before it, in percent.
        label: How the table calls the row.
        part: The part of the split it is of, as `Task.part` tells it; empty: all.
    """

    split: str
    metric: str
    gpt1: float
    earlier: float
    label: str
    part: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A labelled task.

    Attributes:
        name: Short, lower-case.
        transform: Makes the example of a row. It sees the columns under the names of ``columns``,
            and None where there is no label. It may raise DataError, ValueError or KeyError for a
            row it cannot use: that row is left out, counted and named; and `LeftOut`.
        metrics: Names in `gpt1.tasks.metrics`, the one that picks the checkpoint first; empty:
            accuracy for classes and choices, Pearson correlation for values.
        classes: Names of the classes in the order of the data's whole-number labels; F1 is of the
            last of two. Empty: as they come in the training data, sorted.
        columns: Names of the columns the transform reads, each with the other names it has in
            official releases. Empty: rows are passed as they are.
        label: The column of the label.
        part: Tells which part of the data a row is of, as the two levels of RACE.
        header: The columns of .tsv files that come without a header.
        tsv_quotes: Whether quotes in a .tsv file may be a CSV writer's; in official releases they
            are part of the text.
        files: For each split, the names of its files in official releases, as glob patterns beside
            the usual ``train.jsonl``, best first; case does not matter.
        rows: Reads one of these files where it is not a table of one example a row, given the file
            and the split.
        hub: Where it is on the Hugging Face hub.
        epochs: Passes over the training data in the paper.
        results: What the paper reports.
    """

    name: str
    transform: Callable[[Row], Example]
    metrics: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    label: str = "label"
    part: Callable[[Row], str] | None = None
    header: tuple[str, ...] = ()
    tsv_quotes: bool = False
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows: Callable[[Path, str], Rows] | None = None
    hub: HubSource | None = None
    epochs: int = 3
    results: tuple[Result, ...] = ()


def get_task(name: str) -> Task:
    """The task of the paper with this name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in NAMES:
        near = get_close_matches(name.lower().replace("-", ""), NAMES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"there is no task {name!r}; the tasks are {', '.join(NAMES)}{hint}")
    task: Task = importlib.import_module(f"gpt1.tasks.{name}").TASK
    return task
