"""Token shards: flat files of uint16 ids beside a JSON index, read by memory map.

A folder of shards holds ``train-00000.bin`` ..., ``valid-00000.bin`` ..., ``index.json`` (for every
file its tokens and SHA-256, and the tokenizer's fingerprint) and the tokenizer itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.atomic import write_bytes_atomic, write_text_atomic
from gpt1.data.remote import default_cache, fetch, file_sha256, is_url, read_text
from gpt1.errors import DataError
from gpt1.tokenizer import Tokenizer

INDEX = "index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
"""What `Tokenizer.load` reads of a folder of shards."""
SHARD_TOKENS = 100_000_000
"""Tokens of a shard (200 MB)."""

TokenIds: TypeAlias = Sequence[int] | NDArray[Any]


class ShardWriter:
    """Writes the token streams of one split.

    Args:
        folder: Where; made if need be.
        split: "train" or "valid".
        shard_tokens: Tokens after which the next file begins.
    """

    def __init__(self, folder: Path, split: str, shard_tokens: int = SHARD_TOKENS) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.split = split
        self.shard_tokens = shard_tokens

    def write(self, texts: Iterable[TokenIds]) -> list[dict[str, Any]]:
        """Write all texts behind one another.

        Args:
            texts: Token ids of each text, each id below 65,536.

        Returns:
            One entry of the index for each file.
        """
        entries = []
        for number, tokens in enumerate(_shards(texts, self.shard_tokens)):
            name = f"{self.split}-{number:05d}.bin"
            data = tokens.tobytes()
            write_bytes_atomic(self.folder / name, data)
            digest = hashlib.sha256(data).hexdigest()
            entries.append({"file": name, "tokens": len(tokens), "sha256": digest})
        return entries


def _shards(texts: Iterable[TokenIds], shard_tokens: int) -> Iterator[NDArray[np.uint16]]:
    """Arrays of ``shard_tokens`` ids, the last one shorter."""
    waiting: list[NDArray[np.uint16]] = []
    size = 0
    for text in texts:
        ids = np.asarray(text, dtype=np.int64)
        if len(ids) and ids.max() >= 2**16:
            raise DataError(f"token id {ids.max()} does not fit a shard; ids go up to 65535")
        waiting.append(ids.astype("<u2"))
        size += len(ids)
        while size >= shard_tokens:
            joined = np.concatenate(waiting)
            yield joined[:shard_tokens]
            waiting = [joined[shard_tokens:]]
            size -= shard_tokens
    if size:
        yield np.concatenate(waiting)


def write_index(
    folder: Path, splits: dict[str, list[dict[str, Any]]], fingerprint: str, **facts: Any
) -> None:
    """Write the index last: a folder without one is not complete.

    Args:
        folder: Of the shards.
        splits: Entries of `ShardWriter.write` for each split.
        fingerprint: Of the tokenizer.
        facts: Counts and sources to keep beside them.
    """
    index = {"dtype": "uint16", "tokenizer": fingerprint, **facts, "splits": splits}
    write_text_atomic(folder / INDEX, json.dumps(index, indent=2) + "\n")


def is_shards(location: str | Path) -> bool:
    """Whether there are shards, complete ones, in a folder or at a URL."""
    if not is_url(location):
        return (Path(location) / INDEX).is_file()
    try:
        read_text(f"{str(location).rstrip('/')}/{INDEX}")
    except FileNotFoundError:
        return False
    return True


class Shards:
    """The memory-mapped tokens of a folder of shards.

    Args:
        location: A folder written by ``gpt1 data prepare``, or the URL of a copy of one, as
            ``s3://bucket/shards``: its files are fetched when they are first needed, and kept.
        cache: Where they are kept; default: ``~/.cache/gpt1/shards`` (``XDG_CACHE_HOME``).

    Attributes:
        folder: Where the files are on this machine.
        index: What ``index.json`` says.

    Raises:
        DataError: If the index is missing or is not JSON, or cannot be fetched.
        MissingExtraError: If fsspec needs another package for this kind of URL.
    """

    def __init__(self, location: str | Path, cache: str | Path | None = None) -> None:
        self.url = f"{str(location).rstrip('/')}/" if is_url(location) else None
        self.folder = Path(location)
        try:
            text = read_text(self.url + INDEX) if self.url else self._read_index()
            self.index: dict[str, Any] = json.loads(text)
        except FileNotFoundError:
            raise DataError(
                f"{location} holds no {INDEX}, so it is no complete folder of shards; "
                "make one with: gpt1 data prepare TEXTS --out FOLDER"
            ) from None
        except json.JSONDecodeError as error:
            raise DataError(f"{self.url or self.folder / INDEX} is not JSON: {error}") from None
        if self.url:
            # Shards that are made anew at the same place have another index, so another folder.
            name = hashlib.sha256(text.encode()).hexdigest()[:24]
            self.folder = Path(cache or default_cache()) / name
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in TOKENIZER_FILES:
                fetch(self.url + file, self.folder / file)
            write_text_atomic(self.folder / INDEX, text)

    def _read_index(self) -> str:
        return (self.folder / INDEX).read_text(encoding="utf-8")

    def tokens(self, split: str) -> list[NDArray[np.uint16]]:
        """The files of a split, each memory-mapped.

        Args:
            split: "train" or "valid".

        Raises:
            DataError: If a file is missing or torn.
        """
        entries = self.index["splits"].get(split, [])
        return [np.memmap(self._file(entry), dtype="<u2", mode="r") for entry in entries]

    def verify(self) -> None:
        """Read every file and compare it with the index, and the tokenizer too.

        Raises:
            DataError: If one is missing, torn or changed; it is named.
        """
        for entry in chain.from_iterable(self.index["splits"].values()):
            path = self._file(entry)
            found = file_sha256(path)
            if found != entry["sha256"]:
                raise DataError(
                    f"{path} has SHA-256 {found[:12]} but {INDEX} says {entry['sha256'][:12]}: it "
                    f"is not what was written; {self._remedy(path)}"
                )
        found = Tokenizer.load(self.folder).fingerprint
        if found != self.index["tokenizer"]:
            raise DataError(
                f"the tokenizer in {self.folder} ({found[:12]}) is not the one the tokens were "
                f"made with ({self.index['tokenizer'][:12]}); prepare the data again"
            )

    def _file(self, entry: Mapping[str, Any]) -> Path:
        """A file of the right size on this machine."""
        path = self.folder / Path(entry["file"]).name  # never outside the folder
        size_bytes = 2 * entry["tokens"]
        if self.url:
            fetch(self.url + path.name, path, size_bytes, entry["sha256"])
        found = path.stat().st_size if path.exists() else 0
        if found != size_bytes:
            raise DataError(
                f"{path} has {found} bytes but must have {size_bytes}; {self._remedy(path)}"
            )
        return path

    def _remedy(self, path: Path) -> str:
        return f"delete {path} and try again" if self.url else "prepare the data again"
