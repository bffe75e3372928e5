"""From texts to token shards: ``gpt1 data prepare``.

Files are read and their documents cleaned, in chunks and in many processes; then duplicates are
left out, a tokenizer is trained unless there is one, the chunks are tokenised, and their tokens
joined. Each chunk is written to disk when it is done, so that work that was stopped goes on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from gpt1.atomic import atomic_folder, check_destination
from gpt1.config import PrepareConfig
from gpt1.data.held_out import HeldOut
from gpt1.data.selection import Selected, Selection, SourceCounts
from gpt1.data.shards import INDEX, Shards, ShardWriter, write_index
from gpt1.data.stages import SPLITS, Chunk, EncodeTask, Unit, clean_unit, encode_chunk, tokens_of
from gpt1.data.work import fetched, forget_copies, open_work, read_record
from gpt1.data.workers import Workers
from gpt1.errors import ConfigError, DataError
from gpt1.tokenizer import Tokenizer

Advance = Callable[[str, int, int], None]
"""Told what is being done, how many texts are done, and of how many."""

DROPPED = "dropped.jsonl"
"""Every document that is left out, with the reason, beside the shards."""

_log = logging.getLogger(__name__)


def prepare(
    inputs: Sequence[str | Path],
    out: str | Path,
    config: PrepareConfig | None = None,
    *,
    workers: int = 1,
    advance: Advance | None = None,
) -> Shards:
    """Clean and tokenise texts into shards, with part of the documents held out for validation.

    Documents are spread evenly over the two splits: at a validation share of 1%, every hundredth is
    held out. With fewer documents than that, the last part of each is held out instead.

    Called again with the same arguments after it was stopped, it goes on where it was. What the
    folder held before stays until all is done.

    Args:
        inputs: Files, folders, URLs or data sets of the hub, see `TextSource`.
        out: Folder to write; it is complete once it has an ``index.json``.
        config: Cleaning, tokenizer and split.
        workers: Processes; the result is the same for any number. With more than one, a program
            has to call this below ``if __name__ == "__main__":``.
        advance: Told about the progress.

    Returns:
        The shards.

    Raises:
        DataError: If there is nothing to read at a path, or no document is left.
        ConfigError: If the folder holds something else, or work with other settings, or a setting
            cannot be met.
        MissingExtraError: If a library for a kind of file or a step is missing.
    """
    config = config or PrepareConfig()
    out = Path(out)
    if workers < 1:
        raise ConfigError(f"workers is {workers} but must be at least 1")
    check_destination(out)
    given = given_tokenizer(config)
    was_there = out.exists()
    work, units = open_work(out, inputs, config, given.fingerprint if given else None)
    with Workers(workers) as processes:
        job = Job(work, units, config, processes, advance or _tell_nobody)
        selection = job.clean()
        if not selection.documents:
            shutil.rmtree(work if was_there else out)
            raise DataError(_nothing_left(inputs, job.records, selection))
        tokenizer = job.tokenizer(given, selection)
        job.encode(selection, tokenizer)
    job.write(selection, tokenizer, inputs)
    _publish(work / "shards", out)
    shutil.rmtree(work)
    return Shards(out)


def _tell_nobody(doing: str, done: int, total: int) -> None:
    pass


def given_tokenizer(config: PrepareConfig) -> Tokenizer | None:
    """The tokenizer that the settings name, if they do.

    Raises:
        CheckpointError: If there is none.
        DataError: If its ids do not fit a shard.
    """
    if config.tokenizer is None:
        return None
    from gpt1.locate import locate

    tokenizer = Tokenizer.load(locate(config.tokenizer), config.tokenizer_mode)
    if tokenizer.vocab_size > 2**16:
        raise DataError(
            f"the tokenizer {config.tokenizer} has {tokenizer.vocab_size} ids, but those of a "
            "shard go up to 65535; use a smaller one"
        )
    return tokenizer


class Job:
    """The stages of one preparation; each finds in the folder what of it is done."""

    def __init__(
        self,
        work: Path,
        units: list[Unit],
        config: PrepareConfig,
        workers: Workers,
        advance: Advance = _tell_nobody,
    ) -> None:
        self.work = work
        self.units = units
        self.config = config
        self.workers = workers
        self.advance = advance
        self.records: list[dict[str, Any]] = []

    def clean(self) -> Selection:
        """Read and clean all documents, and choose those that become tokens."""
        documents, told = 0, set[str]()
        for record in self._clean_units():
            self.records.append(record)
            documents += record["documents"]
            self.advance("cleaning", documents, 0)
            _tell(record, told)
        chunks = [
            Chunk(self.work, unit.number, number)
            for unit, record in zip(self.units, self.records, strict=True)
            for number in range(record["chunks"])
        ]
        paths = [file.path for unit in self.units for file in unit.files]
        return Selection(chunks, paths, self.config.clean, self.work / DROPPED)

    def _clean_units(self) -> Iterator[dict[str, Any]]:
        todo = [unit for unit in self.units if not unit.record.exists()]
        done = iter(self.workers.map_in_order(clean_unit, map(fetched, todo)))
        numbers = {unit.number for unit in todo}
        for unit in self.units:
            yield next(done) if unit.number in numbers else read_record(unit)
            forget_copies(unit)

    def tokenizer(self, given: Tokenizer | None, selection: Selection) -> Tokenizer:
        """The given one, or one trained on the documents; it is kept for the workers."""
        folder = self.work / "tokenizer"
        if not folder.exists():
            tokenizer = given or Tokenizer.train(
                self._counted("training", selection),
                vocab_size=self.config.vocab_size,
                mode=self.config.tokenizer_mode or "bert",
            )
            with atomic_folder(folder) as empty:
                tokenizer.save(empty)
        return Tokenizer.load(folder)

    def _counted(self, doing: str, selection: Selection) -> Iterator[str]:
        texts = chain.from_iterable(selected.texts() for selected in selection.selected)
        for number, text in enumerate(texts, start=1):
            yield text
            self.advance(doing, number, selection.documents)

    def encode(self, selection: Selection, tokenizer: Tokenizer) -> None:
        """Tokenise all chunks."""
        tasks = encode_tasks(
            self.work, selection.selected, selection.documents, self.config, tokenizer.fingerprint
        )
        documents = 0
        for counts in self.workers.map_in_order(encode_chunk, tasks):
            documents += counts["documents"]
            self.advance("tokenising", documents, selection.documents)
            for file, tokens in counts["tokens"].items():
                selection.counts[int(file)].tokens += tokens

    def write(
        self, selection: Selection, tokenizer: Tokenizer, inputs: Sequence[str | Path]
    ) -> None:
        """Write the shards, the index and what belongs to them to a folder in that of the work."""
        ready = self.work / "shards"
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        tokenizer.save(ready)
        shutil.copyfile(self.work / DROPPED, ready / DROPPED)
        chunks = [selected.chunk for selected in selection.selected]
        splits = {
            split: ShardWriter(ready, split).write(tokens_of(chunk, split) for chunk in chunks)
            for split in SPLITS
        }
        write_index(ready, splits, tokenizer.fingerprint, **self._facts(selection, inputs))

    def _facts(self, selection: Selection, inputs: Sequence[str | Path]) -> dict[str, Any]:
        """What the index says of where the tokens are from."""
        records = [file for record in self.records for file in record["files"]]
        return {
            "documents": selection.documents,
            "characters": selection.characters,
            "dropped": selection.dropped,
            "inputs": [str(path) for path in inputs],
            "sources": [
                _source(record, counts, self.config.license)
                for record, counts in zip(records, selection.counts, strict=True)
            ],
            "config": asdict(self.config),
            "version": metadata.version("gpt1"),
        }


def encode_tasks(
    work: Path,
    selected: Sequence[Selected],
    documents: int,
    config: PrepareConfig,
    fingerprint: str,
) -> Iterator[EncodeTask]:
    """What there is to tokenise.

    Args:
        work: Folder of the work; it holds the tokenizer.
        selected: Chunks with the texts that become tokens, some or all.
        documents: How many become tokens in all.
        config: Says how many are held out.
        fingerprint: Of the tokenizer.
    """
    held_out = HeldOut(config.valid_fraction, documents)
    return (EncodeTask(*chosen, held_out, work / "tokenizer", fingerprint) for chosen in selected)


def _source(record: dict[str, Any], counts: SourceCounts, license: str | None) -> dict[str, Any]:
    """What the index says of a file."""
    return {
        "path": record["path"],
        "license": [license] if license else sorted(counts.licenses),
        "sha256": record["sha256"],
        "bytes": record["bytes"],
        "column": record["column"] and record["column"][0],
        "problem": record["problem"],
        "kept": counts.kept,
        "dropped": dict(sorted(counts.dropped.items())),
        "characters": counts.characters,
        "tokens": counts.tokens,
    }


def _tell(record: dict[str, Any], told: set[str]) -> None:
    """Say what was wrong with files, and once of each column of texts why it was chosen."""
    for file in record["files"]:
        if file["problem"]:
            _log.warning("not read, or not to its end: %s", file["problem"])
        if file["column"] and file["column"][0] not in told:
            told.add(file["column"][0])
            _log.info("%s: texts from column %r (%s)", file["path"], *file["column"])


def _nothing_left(
    inputs: Sequence[str | Path], records: list[dict[str, Any]], selection: Selection
) -> str:
    problems = [file["problem"] for record in records for file in record["files"]]
    reasons = [f"{count} {reason}" for reason, count in selection.dropped.items()]
    said = [*reasons, *list(filter(None, problems))[:3]]
    where = ", ".join(map(str, inputs))
    return f"there is no text in {where}" + (f" to keep: {'; '.join(said)}" if said else "")


def _publish(ready: Path, out: Path) -> None:
    """Put the finished files in the place of those that were there before, the index last."""
    # Without an index, what is left of older shards cannot pass for complete ones.
    for old in (out / INDEX, *out.glob("*-[0-9][0-9][0-9][0-9][0-9].bin")):
        old.unlink(missing_ok=True)
    for file in sorted(ready.iterdir(), key=lambda file: file.name == INDEX):
        file.replace(out / file.name)
