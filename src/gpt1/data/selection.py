"""Which documents become tokens: those that are clean, and no duplicate of one before them.

The decisions depend on the order of the documents alone, so they are made in one process, from what
the workers found out about each.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from gpt1.config import CleaningConfig
from gpt1.data.duplicates import Duplicates
from gpt1.data.stages import Chunk


@dataclass
class SourceCounts:
    """What became of the documents of a file.

    Attributes:
        kept: How many become tokens.
        dropped: How many do not, by reason.
        characters: Of those that do.
        tokens: Of those that do.
        licenses: All that documents state, sorted.
    """

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    tokens: int = 0
    licenses: set[str] = field(default_factory=set)


class Selected(NamedTuple):
    """The texts of a chunk that become tokens.

    Attributes:
        chunk: Of clean texts.
        kept: Of each text, 1 or 0.
        first: Number of the first that is kept, among all that are, from 1.
    """

    chunk: Chunk
    kept: bytes
    first: int

    def texts(self) -> Iterator[str]:
        """Those that are kept."""
        return (text for _, text in compress(self.chunk.read_texts(), self.kept))


class Selection:
    """Goes through all documents in order.

    Args:
        chunks: All there are.
        paths: Of the files, by number.
        config: Which duplicates are left out.
        dropped: Gets a JSON line for each document that is left out.

    Attributes:
        selected: The chunks with the texts that become tokens.
        counts: Of each file.
        documents: How many become tokens.
    """

    def __init__(
        self, chunks: list[Chunk], paths: list[str], config: CleaningConfig, dropped: Path
    ) -> None:
        self.counts = [SourceCounts() for _ in paths]
        self.documents = 0
        self._paths = paths
        self._duplicates = Duplicates(exact=config.exact_duplicates, near=config.near_duplicates)
        with dropped.open("w", encoding="utf-8") as file:
            self.selected = [self._select(chunk, file) for chunk in chunks]

    @property
    def characters(self) -> int:
        """Of all documents that become tokens."""
        return sum(counts.characters for counts in self.counts)

    @property
    def dropped(self) -> dict[str, int]:
        """How many documents are left out, by reason, sorted."""
        return dict(sorted(sum((c.dropped for c in self.counts), Counter[str]()).items()))

    def _select(self, chunk: Chunk, dropped: TextIO) -> Selected:
        kept = bytearray()
        first = self.documents + 1
        for document in chunk.lines("docs.jsonl"):
            counts = self.counts[document["file"]]
            is_clean = "reason" not in document
            reason = self._duplicate(document) if is_clean else document["reason"]
            if is_clean:
                kept.append(reason is None)
            if reason is None:
                self.documents += 1
                counts.kept += 1
                counts.characters += document["characters"]
                counts.licenses.update(filter(None, [document["license"]]))
            else:
                counts.dropped[reason] += 1
                dropped.write(self._line(document, reason))
        return Selected(chunk, bytes(kept), first)

    def _duplicate(self, document: dict[str, Any]) -> str | None:
        signed = document["signature"]
        return self._duplicates.reason(
            bytes.fromhex(document["digest"]),
            None if signed is None else np.frombuffer(bytes.fromhex(signed), np.uint32),
        )

    def _line(self, document: dict[str, Any], reason: str) -> str:
        detail = document.get("detail")
        return (
            json.dumps(
                {
                    "source": self._paths[document["file"]],
                    "document": document["name"],
                    "reason": reason,
                    **({"detail": detail} if detail else {}),
                },
                ensure_ascii=False,
            )
            + "\n"
        )
