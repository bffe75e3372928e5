"""Write files and folders whole or not at all: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from uuid import uuid4

from gpt1.config import RUN_FILE
from gpt1.errors import CheckpointError, ConfigError

WORK_FOLDER = ".preparing"
"""What is half done of token shards, in their folder."""
OWN_ENTRIES = (
    *("config.json", "params_shapes.json", "tokenizer.json", "index.json"),
    *(RUN_FILE, WORK_FOLDER),
)
"""A folder with one of these is a checkpoint, run, tokenizer or shards: it may be written to."""

_TEMPORARY = ".saving-"
_LEFTOVER_AGE_S = 24 * 3600
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unused_folder(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that does not exist yet."""
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in count(2))
    return next(path for path in chain([folder], numbered) if not path.exists())


def check_destination(path: str | Path) -> None:
    """Refuse a folder that holds something else, so that ``--out ~`` does no harm.

    Args:
        path: Where a checkpoint or a run shall be written; need not exist.

    Raises:
        ConfigError: If it is a file, or a non-empty folder without any of `OWN_ENTRIES`.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; name a folder to write to")
    entries = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    foreign = any(not name.startswith(_TEMPORARY) for name in entries)
    if foreign and entries.isdisjoint(OWN_ENTRIES):
        raise ConfigError(
            f"the folder {path} is not empty and has none of {', '.join(OWN_ENTRIES)}, so it is "
            "not one of ours; name a new or an empty folder"
        )


def free_bytes(path: str | Path) -> int:
    """Room on the disk where a file or folder is or will be."""
    path = Path(path).resolve()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return shutil.disk_usage(existing).free


@contextmanager
def atomic_folder(path: str | Path, *, size_bytes: int | None = None) -> Iterator[Path]:
    """Fill a folder so that a crash, an interrupt or a full disk leaves what was there before.

    A new folder appears by one rename. In an existing folder each file is replaced by a rename once
    all of them are on disk, ``.safetensors`` files last; its other files stay.

    Args:
        path: The folder to create or to update.
        size_bytes: About how much will be written, for the message when the disk is full.

    Yields:
        An empty folder to write files to; it is gone afterwards.

    Raises:
        CheckpointError: If the disk is full or the folder cannot be written.
    """
    path = Path(path).resolve()
    room = path if path.is_dir() else path.parent
    temporary = room / f"{_TEMPORARY}{uuid4().hex[:12]}"
    with _explained(path, size_bytes):
        try:
            remove_leftovers(room)
            temporary.mkdir(parents=True)
            yield temporary
            _publish(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write or replace one UTF-8 text file in one step.

    Args:
        path: The file; its folder must exist.
        text: The whole content; line ends stay as they are.

    Raises:
        CheckpointError: If the disk is full or the file cannot be written.
    """
    write_bytes_atomic(path, text.encode())


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Write or replace one file in one step.

    Args:
        path: The file; its folder must exist.
        data: The whole content.

    Raises:
        CheckpointError: If the disk is full or the file cannot be written.
    """
    path = Path(path).resolve()
    temporary = path.with_name(f"{_TEMPORARY}{uuid4().hex[:12]}")
    with _explained(path, len(data)):
        try:
            temporary.write_bytes(data)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    # Safetensors creates its files readable by their owner only, whatever the umask.
    mode = temporary.stat().st_mode & 0o666
    files = sorted(temporary.iterdir(), key=lambda file: (file.suffix == ".safetensors", file.name))
    for file in files:
        file.chmod(mode)
        _sync(file)
    if path.is_dir():
        for file in files:
            file.replace(path / file.name)
    else:
        _sync(temporary)
        temporary.rename(path)
    _sync(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, older_than_s: float = _LEFTOVER_AGE_S) -> None:
    """Delete what killed processes left while writing a folder.

    Args:
        folder: Where they wrote.
        older_than_s: Age in seconds that keeps out of the way of those at work; 0 where there can
            be none.
    """
    for leftover in folder.glob(f"{_TEMPORARY}*"):
        if leftover.is_dir() and time.time() - leftover.stat().st_mtime >= older_than_s:
            shutil.rmtree(leftover, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read a part at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


@contextmanager
def _explained(path: Path, size_bytes: int | None) -> Iterator[None]:
    """Turn the operating system's refusals, Python's or Rust's, into a `CheckpointError`."""
    try:
        yield
    except Exception as error:
        number = _os_error_number(error)
        if number is None:
            raise
        reason = os.strerror(number)
        if number in _FULL:
            raise CheckpointError(_full_message(path, size_bytes, reason)) from error
        raise CheckpointError(
            f"cannot write {path}: {reason}; choose another place or change its permissions"
        ) from error


def _os_error_number(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _full_message(path: Path, size_bytes: int | None, reason: str) -> str:
    free = f"{free_bytes(path):,} bytes are free"
    needed = "" if size_bytes is None else f"it needs about {size_bytes:,} bytes and "
    return (
        f"cannot write {path}: {reason}; {needed}{free} on that disk. "
        "Free some space or choose another place; what was there before is unchanged"
    )
