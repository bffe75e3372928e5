"""Short fingerprints of models and data: an experiment is known by what it read, not by where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from gpt1.errors import DataError
from gpt1.locate import locate as locate_model
from gpt1.tasks.hub_rows import hub_place
from gpt1.tasks.locating import locate
from gpt1.tasks.task import get_task

MODEL_FILES = ("config.json", "tokenizer.json", "*.safetensors", "*.npy", "params_shapes.json")
LENGTH = 12


@cache
def model_digest(model: str) -> str:
    """Fingerprint of the files of a model.

    Args:
        model: "mini", a folder or a hub id.
    """
    folder = locate_model(model)
    return files_digest(file for name in MODEL_FILES for file in sorted(folder.glob(name)))


@cache
def data_digest(data: str, task: str, splits: tuple[str, ...]) -> str:
    """Fingerprint of the files of some splits of a task; of a data set on the hub, its name.

    Args:
        data: As for `gpt1.tasks.reading.read_split`.
        task: Name of the task.
        splits: Those that are not there are left out.
    """
    place = hub_place(get_task(task), data, splits[0])
    if place is not None:
        return f"{place.dataset} {place.config or ''}".strip()
    files: list[Path] = []
    for split in splits:
        try:
            files += locate(get_task(task), Path(data), split).files
        except DataError:
            continue
    return files_digest(files)


def files_digest(files: Iterable[Path]) -> str:
    """Fingerprint of the names and contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:LENGTH]
