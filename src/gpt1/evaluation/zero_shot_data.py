"""The files of the zero-shot tasks, and some or all of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gpt1.data.files import OPENERS
from gpt1.data.rows import TABLES, good_rows
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.zero_shot_rules import RULES, Row

SPLITS = ("dev", "test", "train")
"""Names of files, without their endings; what is scored is the first of them by default."""


class TaskFiles(NamedTuple):
    """The file to score, and the one a threshold is fitted on, if there is one."""

    scored: Path
    train: Path | None


def find_tasks(
    data: str | Path, tasks: list[str], split: str | None = None
) -> dict[str, TaskFiles]:
    """Where the rows of each task are.

    Args:
        data: A folder with a folder for each task, the folder of one task (``dev.jsonl.gz`` and so
            on), or a file of one task; a train file beside it is found.
        tasks: Names; none: all that ``data`` has.
        split: Of `SPLITS`; default: the first there is.

    Raises:
        ConfigError: If a task is unknown, or a file or one task's folder is given for several.
        DataError: If there is nothing of a task.
    """
    unknown = [task for task in tasks if task not in RULES]
    if unknown:
        raise ConfigError(
            f"there is no zero-shot task {unknown[0]!r}; there are {', '.join(RULES)}"
        )
    path = Path(data)
    if not path.exists():
        raise DataError(f"there is no file or folder {path}; check the path")
    nested = [task for task in RULES if (path / task).is_dir()]
    if nested:
        return {task: _files(path / task, split) for task in tasks or nested}
    tasks = tasks or [task for task in RULES if path.resolve().name == task]
    if len(tasks) != 1:
        raise ConfigError(
            f"{path} is of one task, but {len(tasks)} are named; name one of {', '.join(RULES)}"
        )
    return {tasks[0]: _files(path, split)}


def _files(path: Path, split: str | None) -> TaskFiles:
    if path.is_file():
        return TaskFiles(path, _table(path.parent, "train"))
    for name in [split] if split else SPLITS:
        if file := _table(path, name):
            return TaskFiles(file, _table(path, "train"))
    wanted = split or " or ".join(SPLITS)
    raise DataError(f"the folder {path} has no file {wanted} (.jsonl, .csv, .tsv, or one as .gz)")


def _table(folder: Path, name: str) -> Path | None:
    """The table of this name, whatever its ending."""
    endings = [kind + packed for kind in TABLES for packed in ("", *OPENERS)]
    return next((file for end in endings if (file := folder / (name + end)).is_file()), None)


def task_rows(file: Path, task: str, subset: int | None = None) -> list[Row]:
    """The rows of a file of a task, or some of them, spread evenly over it.

    Args:
        file: A table.
        task: Whose columns it has.
        subset: How many; all if there are fewer.

    Raises:
        DataError: If the file cannot be read, or a row is of no use.
    """
    rows = list(good_rows(file))
    if subset is not None and subset < len(rows):
        rows = [rows[i * len(rows) // subset] for i in range(subset)]
    for line, row in rows:
        RULES[task].check(row, f"{file}, line {line}")
    return [row for _, row in rows]
