"""Where the files of a split are: our names, or those of the official release."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from gpt1.data.files import OPENERS
from gpt1.errors import DataError
from gpt1.tasks.tables import KINDS
from gpt1.tasks.task import Task

STEMS = {"dev": ("dev", "valid", "validation", "val")}
"""Usual names of a split's file, where there are others than the split's own."""


class Located(NamedTuple):
    """The files of a split.

    Attributes:
        files: In the order they are read.
        official: Whether they are of the official release, for `Task.rows` to read.
    """

    files: list[Path]
    official: bool


def locate(task: Task, data: Path, split: str) -> Located:
    """The files of a split.

    Args:
        task: Knows the names of official files.
        data: The folder of the data, or one with a folder named like the task in it, such as
            "CoLA"; or the file itself.
        split: "train", "dev", "test", "dev_mismatched" or "test_mismatched".

    Raises:
        DataError: If there are none.
    """
    if data.is_file():
        names = [pattern.rpartition("/")[2] for pattern in task.files.get(split, ())]
        return Located([data], any(fnmatchcase(data.name.lower(), name.lower()) for name in names))
    if not data.is_dir():
        raise DataError(f"there is no file or folder {data}; check the path")
    folders = [data, *_folders_of(task, data)]
    stems = STEMS.get(split, (split,))
    usual = [f"{stem}{kind}" for stem in stems for kind in KINDS]
    official = task.files.get(split, ())
    for folder in folders:
        for pattern in (*usual, *official):
            if files := _packed_or_not(folder, pattern):
                return Located(files, pattern in official)
    raise DataError(
        f"no {split} data of {task.name} in {_any_of(map(str, folders))}; looked for "
        f"{_any_of(stems)} as {_any_of(KINDS)} (also .gz, .xz or .zst)"
        + "".join(f", or {pattern}" for pattern in official)
    )


def _any_of(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _folders_of(task: Task, data: Path) -> list[Path]:
    """Folders whose names are or begin with the task's, such as "SciTailV1.1"; exact ones first."""
    name = _letters(task.name)
    found = [f for f in data.iterdir() if f.is_dir() and _letters(f.name).startswith(name)]
    return sorted(found, key=lambda folder: (_letters(folder.name) != name, folder.name))


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _packed_or_not(folder: Path, pattern: str) -> list[Path]:
    found = (_matches(folder, pattern + packed) for packed in ("", *OPENERS))
    return next(filter(None, found), [])


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Files in a folder by a glob pattern, whatever their case, sorted."""
    first, _, rest = pattern.lower().partition("/")
    entries = sorted(e for e in folder.iterdir() if fnmatchcase(e.name.lower(), first))
    if rest:
        return [file for e in entries if e.is_dir() for file in _matches(e, rest)]
    return [e for e in entries if e.is_file()]
