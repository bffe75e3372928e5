"""From the files of a task to examples; rows that cannot be used are counted and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from gpt1.data.rows import BadRow
from gpt1.errors import DataError
from gpt1.tasks.example import Example, Label
from gpt1.tasks.hub_rows import hub_place, hub_rows
from gpt1.tasks.locating import locate
from gpt1.tasks.tables import table_rows
from gpt1.tasks.task import LeftOut, Row, Task

ID_COLUMNS = ("index", "idx", "id", "pairID", "InputStoryid", "example_id")
"""Columns that name a row, best first."""


class Malformed(NamedTuple):
    """A row that cannot be used.

    Attributes:
        file: Its file or data set.
        place: In it, such as "line 12".
        reason: Why.
    """

    file: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file} {self.place}: {self.reason}"


@dataclass(frozen=True)
class Problems:
    """The rows that did not become examples.

    Attributes:
        malformed: Those that cannot be used.
        left_out: How many were left out on purpose, by reason.
    """

    malformed: Sequence[Malformed] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Examples:
    """The examples of a split.

    Attributes:
        split: Its name.
        examples: In the order of the data. Classes are named as in `Task.classes` if it has any.
        ids: What each row is called in the data, or else its number in it, from 0.
        parts: The part of the data each is of; empty where the task has none.
        problems: The rows that are not among them.
    """

    split: str
    examples: Sequence[Example]
    ids: Sequence[str]
    parts: Sequence[str] = ()
    problems: Problems = field(default_factory=Problems)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def unlabelled(self) -> int:
        """How many have no label."""
        return sum(example.label is None for example in self.examples)

    def select(self, numbers: Sequence[int]) -> Examples:
        """Some of the examples, by their numbers; the problems stay behind."""
        return replace(
            self,
            examples=[self.examples[n] for n in numbers],
            ids=[self.ids[n] for n in numbers],
            parts=[self.parts[n] for n in numbers] if self.parts else (),
            problems=Problems(),
        )

    def part(self, name: str) -> Examples:
        """The examples of a part of the data; of all parts if the name is empty."""
        if not name:
            return self
        return self.select([n for n, part in enumerate(self.parts) if part == name])

    def summary(self) -> str:
        """One line for people: how many examples there are, and what is wrong with the rest."""
        notes = [_malformed_note(self.problems.malformed)] if self.problems.malformed else []
        notes += [
            f"{count:,} left out ({why})" for why, count in sorted(self.problems.left_out.items())
        ]
        notes += [f"{self.unlabelled:,} without a label"] if self.unlabelled else []
        return f"{self.split}: " + "; ".join(
            [_count(len(self), "example"), *([", ".join(notes)] if notes else [])]
        )


def _malformed_note(malformed: Sequence[Malformed]) -> str:
    first = "" if len(malformed) == 1 else "first: "
    return f"{_count(len(malformed), 'malformed row')} ({first}{malformed[0]})"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def read_split(task: Task, data: str | Path, split: str) -> Examples:
    """The examples of a split of a task.

    Args:
        task: What they are for.
        data: A folder with ``train.jsonl``, ``dev.jsonl`` and so on (also .csv, .tsv, .parquet,
            .gz, .xz) or the files of the official release, or a folder with a folder named like the
            task in it; one such file; or a data set on the hub: "hub:" for the usual one,
            "owner/name" for another.
        split: "train", "dev", "test", or of MNLI "dev_mismatched" or "test_mismatched".

    Returns:
        The examples, and what is wrong with the other rows.

    Raises:
        DataError: If there are no such data, a file as a whole cannot be read, no row gives an
            example, or more than half cannot be used.
        MissingExtraError: If the library that reads them is not there.
    """
    place = hub_place(task, str(data), split)
    if place is not None:
        return _collect(task, (_Found(place.dataset, *f) for f in hub_rows(place)), split)
    located = locate(task, Path(data), split)
    read = task.rows if located.official and task.rows else None
    found = (
        _Found(file.name, *row)
        for file in located.files
        for row in (read(file, split) if read else table_rows(task, file))
    )
    return _collect(task, found, split)


class _Found(NamedTuple):
    file: str
    place: str
    row: Row | BadRow


def _collect(task: Task, rows: Iterable[_Found], split: str) -> Examples:
    examples: list[Example] = []
    parts: list[str] = []
    names: list[dict[str, str]] = []
    malformed: list[Malformed] = []
    left_out: Counter[str] = Counter()
    for number, (file, place, row) in enumerate(rows):
        if isinstance(row, BadRow):
            malformed.append(Malformed(file, place, row.reason))
            continue
        try:
            example, part = _example(task, row)
        except LeftOut as reason:
            left_out[str(reason)] += 1
        except (ValueError, KeyError, TypeError) as error:
            malformed.append(Malformed(file, place, _reason(error)))
        else:
            examples.append(example)
            parts.append(part)
            names.append(_names(row, number))
    _check_enough(task, split, len(examples), malformed)
    problems = Problems(malformed, left_out)
    return Examples(split, examples, _ids(names), parts if task.part else (), problems)


def _example(task: Task, row: Row) -> tuple[Example, str]:
    """The example of a row, and the part of the data it is of."""
    row = _canonical(task, row)
    example = task.transform(row)
    for part in chain.from_iterable(example.segments):
        if not isinstance(part, str):
            raise DataError(f"{part!r:.40} is {type(part).__name__}, not a text")
    if task.classes and example.layout != "choice":
        example = replace(example, label=_class_name(example.label, task.classes))
    return example, task.part(row) if task.part else ""


def _canonical(task: Task, row: Row) -> Row:
    """The row under the task's names of columns, with None for a label that is not there."""
    if task.columns:
        theirs = {name.lower(): value for name, value in row.items()}
        found = {
            ours: next((name for name in (ours, *others) if name.lower() in theirs), None)
            for ours, others in task.columns.items()
        }
        row = {ours: theirs[name.lower()] for ours, name in found.items() if name is not None}
    label = row.get(task.label)
    return {**row, task.label: None if label == "" else label}


def _class_name(label: Label | None, classes: Sequence[str]) -> str | None:
    """The name of a class given as name or number; None for -1, the hub's mark of a hidden one."""
    text = str(int(label) if isinstance(label, bool) else label).strip()
    whole = text.removesuffix(".0")
    if label is None or (text == "-1" and text not in classes):
        return None
    for name in (text, whole):
        if name in classes:
            return name
    is_number = whole.isdecimal() and not any(map(str.isdecimal, classes))
    if not is_number or int(whole) >= len(classes):
        raise DataError(f"label {label!r} is none of the classes {', '.join(classes)}")
    return classes[int(whole)]


def _reason(error: Exception) -> str:
    return f"no column {error}" if isinstance(error, KeyError) else str(error)


def _names(row: Row, number: int) -> dict[str, str]:
    """What the row may be called, and its number as the last resort."""
    return {"": str(number), **{name: str(row[name]) for name in ID_COLUMNS if name in row}}


def _ids(names: Sequence[Mapping[str, str]]) -> list[str]:
    """One name for each row, of the first column that has a different one in each."""
    for column in ID_COLUMNS:
        ids = {found[column]: None for found in names if column in found}
        if len(ids) == len(names):
            return list(ids)
    return [found[""] for found in names]


def _check_enough(task: Task, split: str, usable: int, malformed: Sequence[Malformed]) -> None:
    if len(malformed) > usable:
        raise DataError(
            f"{len(malformed):,} of {usable + len(malformed):,} rows of the {split} data of "
            f"{task.name} cannot be used, first: {malformed[0]}"
        )
    if not usable:
        raise DataError(f"there is no example in the {split} data of {task.name}")
