"""The half-done work of ``gpt1 data prepare``, in a folder beside the shards it becomes."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from gpt1.atomic import WORK_FOLDER, write_text_atomic
from gpt1.config import PrepareConfig
from gpt1.data.files import is_remote
from gpt1.data.hub import HubData
from gpt1.data.sources import Source, find_sources
from gpt1.data.stages import Input, Unit
from gpt1.errors import ConfigError

UNIT_BYTES = 1 << 22
"""Files are read together up to this size; a larger one is read by itself."""
_LATE = ("tokenizer", "vocab_size", "tokenizer_mode", "valid_fraction", "fingerprint")
"""Settings nothing depends on before there is a tokenizer."""
_log = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_work(
    out: Path, inputs: Sequence[str | Path], config: PrepareConfig, fingerprint: str | None
) -> tuple[Path, list[Unit]]:
    """The folder of the work, new or half done, and what is to be read.

    Args:
        out: Folder of the shards.
        inputs: As of `gpt1.data.prepare.prepare`.
        config: What is done to them.
        fingerprint: Of the tokenizer, where one is given.

    Raises:
        ConfigError: If other work is half done there.
        DataError: If there is nothing to read at a path.
    """
    sources = [source for path in inputs for source in find_sources(path)]
    settings = _settings(inputs, sources, config, fingerprint)
    folder = out / WORK_FOLDER
    path = folder / "settings.json"
    if path.is_file():
        has_tokenizer = (folder / "tokenizer").exists()
        before = json.loads(path.read_text(encoding="utf-8"))
        _check_same(before, settings, out, () if has_tokenizer else _LATE)
        _log.info("going on with what is half done in %s", folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    write_text_atomic(path, json.dumps(settings) + "\n")
    return folder, list(_units(folder, sources, config))


def forget_work(out: Path) -> None:
    """Delete what is half done in a folder of shards."""
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)


def _settings(
    inputs: Sequence[str | Path],
    sources: list[Source],
    config: PrepareConfig,
    fingerprint: str | None,
) -> dict[str, Any]:
    """All that the result depends on, as it is in JSON."""
    fields = asdict(config)
    cleaning = {f"clean.{name}": value for name, value in fields.pop("clean").items()}
    return {
        "version": metadata.version("gpt1"),
        "inputs": [str(path) for path in inputs],
        **fields,
        **cleaning,
        "fingerprint": fingerprint,
        "files": [[str(source), *_state(source)] for source in sources],
    }


def _state(source: Source) -> list[int]:
    """Size and time of change, where they can be told quickly."""
    if isinstance(source, HubData) or is_remote(source):
        return []
    stat = source.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _check_same(
    before: dict[str, Any], settings: dict[str, Any], out: Path, free: Sequence[str]
) -> None:
    changes = [
        "the files have changed"
        if name == "files"
        else f"{name} was {before.get(name)!r} and is now {value!r}"
        for name, value in settings.items()
        if before.get(name) != value and name not in free
    ]
    if changes:
        raise ConfigError(
            f"{out} holds a preparation that was not finished, and this one differs: "
            f"{'; '.join(changes)}. Run the command that was begun, or delete "
            f"{out / WORK_FOLDER} to begin anew"
        )


def _units(folder: Path, sources: list[Source], config: PrepareConfig) -> Iterator[Unit]:
    """Small files together, in their order; the larger ones alone."""
    number, waiting, size = 0, list[Input](), 0
    for place_number, source in enumerate(sources):
        size_bytes = next(iter(_state(source)), UNIT_BYTES)
        if waiting and size + size_bytes > UNIT_BYTES:
            yield Unit(folder, number, tuple(waiting), config)
            number, waiting, size = number + 1, [], 0
        waiting.append(Input(place_number, str(source), source))
        size += size_bytes
    yield Unit(folder, number, tuple(waiting), config)


def read_record(unit: Unit) -> dict[str, Any]:
    """What is known of files that are done, see `gpt1.data.stages.clean_unit`."""
    record: dict[str, Any] = json.loads(unit.record.read_text(encoding="utf-8"))
    return record


def fetched(unit: Unit) -> Unit:
    """The unit with a copy on this machine of every file that is behind a URL.

    A file that cannot be fetched gets a problem instead.
    """
    return unit._replace(files=tuple(_fetch(file, _copies(unit)) for file in unit.files))


def _copies(unit: Unit) -> Path:
    return unit.folder / "fetched" / str(unit.number)


def forget_copies(unit: Unit) -> None:
    """Delete what was fetched for a unit."""
    shutil.rmtree(_copies(unit), ignore_errors=True)


def _fetch(file: Input, folder: Path) -> Input:
    if isinstance(file.place, HubData) or not is_remote(file.place):
        return file
    copy = folder / str(file.number) / file.place.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.place.open("rb") as remote, copy.open("wb") as local:
            shutil.copyfileobj(remote, local, 1 << 20)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return file._replace(problem=f"{file.path} cannot be read: {error}")
    return file._replace(place=copy)
