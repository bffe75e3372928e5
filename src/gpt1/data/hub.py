"""Rows of data sets on the Hugging Face hub, as they are needed, through the library `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gpt1.errors import DataError, MissingExtraError

PREFIX = "hub:"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:/([\w.-]+))?")


class HubData(NamedTuple):
    """The training split of a data set.

    Attributes:
        dataset: Owner and name.
        config: Its subset, where it has several.
    """

    dataset: str
    config: str | None

    def __str__(self) -> str:
        return PREFIX + "/".join(filter(None, self))

    @property
    def name(self) -> str:
        """What its documents are called by."""
        return str(self)


def hub_data(path: str) -> HubData:
    """What a name means.

    Args:
        path: "hub:owner/name" or "hub:owner/name/subset".

    Raises:
        DataError: If it is another form.
    """
    found = _NAME.fullmatch(path.removeprefix(PREFIX))
    if found is None:
        raise DataError(
            f"{path!r} names no data set; write hub:owner/name or hub:owner/name/subset"
        )
    return HubData(found[1], found[2])


def hub_rows(data: HubData) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with their numbers, from 1; nothing is kept on disk.

    Raises:
        DataError: If there is no such data set or subset, or it cannot be fetched.
        MissingExtraError: If `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            'data from the hub needs the library datasets: pip install "gpt1[hub]"'
        ) from None
    try:
        rows = datasets.load_dataset(data.dataset, data.config, split="train", streaming=True)
        yield from enumerate(map(dict, rows), start=1)
    except Exception as error:  # the errors of the libraries below it vary by their versions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{data.dataset} cannot be read from the hub: {reason}; check the name, its subset "
            "(hub:owner/name/subset) and the connection"
        ) from error
