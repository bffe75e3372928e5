"""Rows of data sets on the Hugging Face hub, through the library `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpt1.errors import DataError, MissingExtraError
from gpt1.tasks.task import HubSource, Rows, Task

PREFIX = "hub:"
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*){1,2}")
"""``owner/name``, also with a subset."""


class HubPlace(NamedTuple):
    """A split on the hub."""

    dataset: str
    config: str | None
    split: str


def hub_place(task: Task, data: str, split: str) -> HubPlace | None:
    """Where on the hub a split is, if that is what ``data`` means.

    Args:
        task: Knows where it is, and how its splits are called there.
        data: "hub:" for the task's own place, or "hub:owner/name", "hub:owner/name/subset"; without
            "hub:" where there is no such folder here.
        split: Ours.

    Returns:
        None if ``data`` is a path.

    Raises:
        DataError: If the task has no place of its own, or the data set has no such split.
    """
    name = data.removeprefix(PREFIX)
    if name == data and (Path(data).exists() or not HUB_ID.fullmatch(data)):
        return None
    source = _source(task, name)
    if split not in source.splits:
        raise DataError(
            f"{source.dataset} has no split {split!r} of {task.name} on the hub; it has "
            f"{', '.join(source.splits)}"
        )
    return HubPlace(source.dataset, source.config, source.splits[split])


def _source(task: Task, name: str) -> HubSource:
    if not name:
        if task.hub is None:
            raise DataError(f"{task.name} is not on the hub; name a folder of its files")
        return task.hub
    owner, _, rest = name.partition("/")
    repository, _, config = rest.partition("/")
    dataset = f"{owner}/{repository}"
    own = task.hub if task.hub and task.hub.dataset == dataset else HubSource(dataset=dataset)
    return HubSource(dataset=dataset, config=config or own.config, splits=own.splits)


def hub_rows(place: HubPlace) -> Rows:
    """The rows of a split, fetched once and then kept in the cache of `datasets`.

    Raises:
        DataError: If there is no such data set, subset or split, or it cannot be fetched.
        MissingExtraError: If `datasets` is not installed.
    """
    for number, row in enumerate(_load(place), start=1):
        yield f"row {number}", row


def _load(place: HubPlace) -> Iterator[dict[str, object]]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            'data from the hub needs the library datasets: pip install "gpt1[hub]"'
        ) from None
    try:
        loaded = datasets.load_dataset(place.dataset, place.config, split=place.split)
    except Exception as error:  # the errors of the libraries below it vary by their versions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{place.dataset} cannot be read from the hub: {reason}; check the name, its subset "
            "(hub:owner/name/subset) and the connection"
        ) from error
    return iter(loaded)
