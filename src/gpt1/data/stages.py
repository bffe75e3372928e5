"""What a worker does of ``gpt1 data prepare``: files to clean texts, clean texts to tokens.

Both stages write their results under names that say of what, whole or not at all, so that work that
was stopped goes on where it was, and no result depends on who did it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpt1.atomic import write_bytes_atomic, write_text_atomic
from gpt1.config import PrepareConfig
from gpt1.data.cleaning import clean
from gpt1.data.columns import Column
from gpt1.data.documents import Document, Dropped
from gpt1.data.duplicates import digest, signature
from gpt1.data.held_out import HeldOut
from gpt1.data.hub import HubData
from gpt1.data.sources import Reader, Source
from gpt1.errors import DataError
from gpt1.tokenizer import Tokenizer

CHUNK_CHARS = 1 << 23
"""Characters of the documents that are cleaned, and later tokenised, at a time."""
SPLITS = ("train", "valid")


class Input(NamedTuple):
    """A file to read.

    Attributes:
        number: Among all files.
        path: As it is called.
        place: Where it is read.
        problem: Why it cannot be.
    """

    number: int
    path: str
    place: Source
    problem: str = ""


class Chunk(NamedTuple):
    """Documents that are handled together, and the files about them.

    Attributes:
        folder: Of the work.
        unit: Number of the files they are from.
        number: Among the chunks of these files.
    """

    folder: Path
    unit: int
    number: int

    def file(self, content: str) -> Path:
        """Where a part of the results is: docs.jsonl, texts, train.bin, ..."""
        return self.folder / f"{self.unit:07d}-{self.number:06d}.{content}"

    def lines(self, content: str) -> Iterator[Any]:
        """The JSON lines of a part."""
        with self.file(content).open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    def write_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """Keep clean texts, each with the number of its file: a line of JSON, then all of them."""
        encoded = [text.encode("utf-8", "surrogatepass") for _, text in texts]
        sizes = [(file, len(data)) for (file, _), data in zip(texts, encoded, strict=True)]
        write_bytes_atomic(self.file("texts"), b"\n".join([json.dumps(sizes).encode(), *encoded]))

    def read_texts(self) -> Iterator[tuple[int, str]]:
        """What was kept."""
        with self.file("texts").open("rb") as kept:
            for file, size in json.loads(kept.readline()):
                yield file, kept.read(size).decode("utf-8", "surrogatepass")
                kept.read(1)


class Unit(NamedTuple):
    """Files that one worker reads.

    Attributes:
        folder: Of the work.
        number: Among all units.
        files: In order.
        config: What is done to their documents.
    """

    folder: Path
    number: int
    files: tuple[Input, ...]
    config: PrepareConfig

    @property
    def record(self) -> Path:
        """What is known of the files, once all of their documents are clean."""
        return self.folder / f"{self.number:07d}.json"


def clean_unit(unit: Unit) -> dict[str, Any]:
    """Read files, clean their documents and write them in chunks.

    Returns:
        The content of the unit's record: the number of its chunks, and of each file its size,
        SHA-256, column of text, and why it could not be read, or not to its end.

    Raises:
        ConfigError: If a setting of the cleaning cannot be met.
        MissingExtraError: If a library for a kind of file is missing.
    """
    chunks = _Chunks(unit)
    files = [_clean_file(file, unit.config, chunks) for file in unit.files]
    chunks.write()
    record = {"chunks": chunks.number, "documents": chunks.documents, "files": files}
    write_text_atomic(unit.record, json.dumps(record) + "\n")
    return record


def _clean_file(file: Input, config: PrepareConfig, chunks: _Chunks) -> dict[str, Any]:
    columns: list[Column] = []
    problem = file.problem
    facts: dict[str, Any] = {"bytes": 0, "sha256": None}
    try:
        if not problem:
            facts = _fingerprint(file.place)
            for document in Reader(config.text_column, lambda _, c: columns.append(c)).read(
                file.place
            ):
                chunks.add(file.number, document)
    except DataError as error:
        problem = str(error).replace(str(file.place), file.path)
    return {
        "path": file.path,
        **facts,
        "column": columns[0] if columns else None,
        "problem": problem or None,
    }


def _fingerprint(place: Source) -> dict[str, Any]:
    """Size and SHA-256 of a file; a data set of the hub is no file."""
    if isinstance(place, HubData):
        return {"bytes": None, "sha256": None}
    found, size = hashlib.sha256(), 0
    try:
        with place.open("rb") as raw:
            while data := raw.read(1 << 20):
                found.update(data)
                size += len(data)
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    return {"bytes": size, "sha256": found.hexdigest()}


class _Chunks:
    """Collects documents; cleans and writes them when they are enough."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.number = 0
        self.documents = 0
        self._waiting: list[tuple[int, Document | Dropped]] = []
        self._chars = 0

    def add(self, file: int, document: Document | Dropped) -> None:
        self._waiting.append((file, document))
        self._chars += len(document.text) if isinstance(document, Document) else 0
        if self._chars >= CHUNK_CHARS:
            self.write()

    def write(self) -> None:
        if not self._waiting:
            return
        chunk = Chunk(self.unit.folder, self.unit.number, self.number)
        if not chunk.file("docs.jsonl").exists():
            _clean_chunk(chunk, self._waiting, self.unit.config)
        self.number += 1
        self.documents += len(self._waiting)
        self._waiting, self._chars = [], 0


def _clean_chunk(
    chunk: Chunk, documents: list[tuple[int, Document | Dropped]], config: PrepareConfig
) -> None:
    facts: list[dict[str, Any]] = []
    texts: list[tuple[int, str]] = []
    for file, document in documents:
        found = clean(document, config.clean) if isinstance(document, Document) else document
        facts.append({"file": file, **_facts(found, config)})
        if isinstance(found, Document):
            texts.append((file, found.text))
    chunk.write_texts(texts)
    lines = "".join(json.dumps(fact) + "\n" for fact in facts)
    write_text_atomic(chunk.file("docs.jsonl"), lines)  # last: it says all is there


def _facts(document: Document | Dropped, config: PrepareConfig) -> dict[str, Any]:
    """What has to be known of a document to tell whether it is a duplicate, and to count it."""
    if isinstance(document, Dropped):
        return document._asdict()
    near = config.clean.near_duplicates is not None
    signed = signature(document.text, config.clean.seed).tobytes().hex() if near else None
    return {
        "name": document.name,
        "characters": len(document.text),
        "license": document.license,
        "digest": digest(document.text).hex(),
        "signature": signed,
    }


class EncodeTask(NamedTuple):
    """A chunk to tokenise.

    Attributes:
        chunk: Of clean texts.
        kept: Of each text, 1 or 0: whether it is no duplicate.
        first: Number of the first that is kept, among all that are, from 1.
        held_out: Which are held out.
        tokenizer: Its folder.
        fingerprint: Of the tokenizer.
    """

    chunk: Chunk
    kept: bytes
    first: int
    held_out: HeldOut
    tokenizer: Path
    fingerprint: str


def encode_chunk(task: EncodeTask) -> dict[str, Any]:
    """Tokenise the texts of a chunk, and then forget them.

    Returns:
        The content of its counts: tokens of each file, by its number.
    """
    chunk, counts_file = task.chunk, task.chunk.file("counts.json")
    if not counts_file.exists():
        counts = _encode(task)
        write_text_atomic(counts_file, json.dumps(counts) + "\n")
    chunk.file("texts").unlink(missing_ok=True)
    loaded: dict[str, Any] = json.loads(counts_file.read_text(encoding="utf-8"))
    return loaded


def _encode(task: EncodeTask) -> dict[str, Any]:
    kept = [*compress(task.chunk.read_texts(), task.kept)]
    parts = [task.held_out.parts(number, text) for number, (_, text) in enumerate(kept, task.first)]
    tokens: Counter[int] = Counter()
    for split, texts in zip(SPLITS, zip(*parts, strict=True), strict=False):
        ids, lengths = _tokenizer(task.tokenizer, task.fingerprint).encode_flat(texts)
        write_bytes_atomic(task.chunk.file(f"{split}.bin"), ids.astype("<u2").tobytes())
        for (file, _), length in zip(kept, lengths.tolist(), strict=True):
            tokens[file] += length
    return {"documents": len(kept), "tokens": tokens}


@functools.lru_cache(maxsize=1)
def _tokenizer(folder: Path, fingerprint: str) -> Tokenizer:
    """Loaded once a process; the fingerprint tells tokenizers of one folder apart."""
    return Tokenizer.load(folder)


def tokens_of(chunk: Chunk, split: str) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The tokens of a chunk in a split."""
    file = chunk.file(f"{split}.bin")
    return np.fromfile(file, "<u2") if file.exists() else np.empty(0, np.uint16)
