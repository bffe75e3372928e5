"""Token shards: flat files of uint16 ids beside a JSON index, read by memory map.

A folder of shards holds ``train-00000.bin`` ..., ``valid-00000.bin`` ..., ``index.json`` (for every
file its tokens and SHA-256, and the tokenizer's fingerprint) and the tokenizer itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.atomic import write_bytes_atomic, write_text_atomic
from gpt1.errors import DataError

INDEX = "index.json"
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


class Shards:
    """The memory-mapped tokens of a folder of shards.

    Args:
        folder: Written by ``gpt1 data prepare``.

    Raises:
        DataError: If the index is missing or is not JSON.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        try:
            self.index = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{self.folder} holds no {INDEX}, so it is no complete folder of shards; "
                "make one with: gpt1 data prepare TEXTS --out FOLDER"
            ) from None
        except json.JSONDecodeError as error:
            raise DataError(f"{path} is not JSON: {error}") from None

    def tokens(self, split: str) -> list[NDArray[np.uint16]]:
        """The files of a split, each memory-mapped.

        Args:
            split: "train" or "valid".

        Raises:
            DataError: If a file is missing or torn.
        """
        maps: list[NDArray[np.uint16]] = []
        for entry in self.index["splits"].get(split, []):
            path = self.folder / entry["file"]
            size_bytes = path.stat().st_size if path.exists() else 0
            if size_bytes != 2 * entry["tokens"]:
                raise DataError(
                    f"{path} has {size_bytes} bytes but must have {2 * entry['tokens']}; "
                    "prepare the data again"
                )
            maps.append(np.memmap(path, dtype="<u2", mode="r"))
        return maps
