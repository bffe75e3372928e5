"""What is left out is counted and named; a bad file ends nothing but itself."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt1.config import CleaningConfig, PrepareConfig
from gpt1.data.prepare import DROPPED, prepare
from gpt1.data.shards import Shards
from gpt1.errors import ConfigError, DataError
from gpt1.tokenizer import Tokenizer

PROSE = "The old sailor told us that the tide would turn before anybody saw boat number {}."


def config(**cleaning: Any) -> PrepareConfig:
    return PrepareConfig(vocab_size=80, valid_fraction=0, clean=CleaningConfig(**cleaning))


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def dropped(shards: Shards) -> list[dict[str, str]]:
    lines = (shards.folder / DROPPED).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def text_of(shards: Shards) -> str:
    ids = [token for part in shards.tokens("train") for token in part.tolist()]
    return Tokenizer.load(shards.folder).decode(ids, raw=True)


def test_every_document_that_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    texts = [PROSE.format(1), "", PROSE.format(1), "#" * 50, "ha\n" * 30, "Short.", PROSE.format(2)]
    path = jsonl(tmp_path / "a.jsonl", [*({"text": text} for text in texts), {"text": 5}, "x"])
    shards = prepare([path], tmp_path / "out", config(min_words=3, max_repeated_lines=0.3))
    expected = {2: "empty", 3: "duplicate", 4: "too short", 5: "repeated lines", 6: "too short"}
    assert [(d["source"], d["document"], d["reason"]) for d in dropped(shards)] == [
        *((str(path), f"a.jsonl:{line}", reason) for line, reason in expected.items()),
        *((str(path), f"a.jsonl:{line}", "bad row") for line in (8, 9)),
    ]
    assert dropped(shards)[-1]["detail"] == "a str, not an object"
    counts = {"bad row": 2, "duplicate": 1, "empty": 1, "repeated lines": 1, "too short": 2}
    assert shards.index["dropped"] == counts
    assert shards.index["documents"] == 2
    assert shards.index["characters"] == len(PROSE.format(1) + PROSE.format(2))


def test_the_index_says_of_each_file_what_it_is_and_what_became_of_it(tmp_path: Path) -> None:
    rows = [{"licence": "CC0-1.0", "text": PROSE.format(i)} for i in (1, 2, 1)]
    first = jsonl(tmp_path / "a.jsonl", rows)
    second = tmp_path / "b.txt"
    second.write_text(PROSE.format(3), encoding="utf-8")
    shards = prepare([tmp_path], tmp_path / "out", config())
    assert shards.index["sources"] == [
        {
            "path": str(path),
            "license": licenses,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            "column": column,
            "problem": None,
            "kept": kept,
            "dropped": lost,
            "characters": kept * len(PROSE.format(1)),
            "tokens": tokens,
        }
        for path, licenses, column, kept, lost, tokens in (
            (first, ["CC0-1.0"], "text", 2, {"duplicate": 1}, count(shards, 1, 2)),
            (second, [], None, 1, {}, count(shards, 3)),
        )
    ]
    assert shards.index["config"]["clean"]["repair"] is True
    assert shards.index["version"]


def count(shards: Shards, *numbers: int) -> int:
    """Tokens of these texts, each encoded by itself."""
    tokenizer = Tokenizer.load(shards.folder)
    return sum(len(tokenizer.encode(PROSE.format(number))) for number in numbers)


def test_a_licence_that_is_given_stands_for_all(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"license": "?", "text": PROSE.format(1)}])
    chosen = PrepareConfig(vocab_size=80, license="Public domain")
    [entry] = prepare([path], tmp_path / "out", chosen).index["sources"]
    assert entry["license"] == ["Public domain"]


def test_a_bad_file_is_told_and_skipped_and_what_was_read_of_it_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    (tmp_path / "b.epub").write_bytes(b"no zip")
    rows = "".join(json.dumps({"text": PROSE.format(i)}) + "\n" for i in range(3))
    (tmp_path / "c.jsonl").write_bytes(rows.encode() * 300 + b"\xff\n")
    jsonl(tmp_path / "d.jsonl", [{"n": 1}])
    (tmp_path / "e.txt").write_text(PROSE.format(9), encoding="utf-8")
    shards = prepare([tmp_path], tmp_path / "out", config(exact_duplicates=False))
    problems = {Path(s["path"]).name: s["problem"] for s in shards.index["sources"]}
    assert problems["e.txt"] is None
    expected = {
        "a.txt": "a.txt is not UTF-8: byte 3",
        "b.epub": "b.epub is no readable EPUB: File is not a zip file",
        "c.jsonl": "c.jsonl is not UTF-8: byte",
        "d.jsonl": "no column of text",
    }
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == len(expected)
    for (name, problem), warning in zip(expected.items(), warnings, strict=True):
        assert problem in problems[name]
        assert warning == f"not read, or not to its end: {problems[name]}"
    kept = {Path(s["path"]).name: s["kept"] for s in shards.index["sources"]}
    assert kept["c.jsonl"] > 600
    assert kept["e.txt"] == 1


def test_where_nothing_is_left_the_reasons_are_told(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{"text": "#" * 9}, {"text": ""}])
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"no text in .*: 1 empty; 1 symbols; .*b\.txt is not UTF"):
        prepare([tmp_path], tmp_path / "out", config(max_symbol_share=0.1))
    assert not (tmp_path / "out").exists()


def test_near_duplicates_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    text = " ".join(PROSE.format(i) for i in range(30))
    near = text.replace("number 29.", "number thirty.")
    path = jsonl(tmp_path / "a.jsonl", [{"text": text}, {"text": near}])
    shards = prepare([path], tmp_path / "near", config(near_duplicates=0.8))
    assert shards.index["dropped"] == {"near duplicate": 1}
    assert prepare([path], tmp_path / "exact", config()).index["dropped"] == {}


def test_a_language_that_cannot_be_told_is_refused_at_once(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"text": PROSE.format(1)}])
    with pytest.raises(ConfigError, match="language is 'xx' but must be one of"):
        prepare([path], tmp_path / "out", config(language="xx"))


@pytest.mark.parametrize("workers", [1, 2])
def test_files_behind_urls_are_fetched_and_forgotten(tmp_path: Path, workers: int) -> None:
    memory = fsspec.filesystem("memory")
    big = PROSE.format(7) + " home" * 1_000_000  # two units of work
    memory.pipe("/web/a.jsonl", json.dumps({"text": PROSE.format(1)}).encode())
    memory.pipe("/web/b.txt", big.encode())
    pq.write_table(pa.table({"text": [PROSE.format(3)]}), memory.open("/web/c.parquet", "wb"))
    try:
        shards = prepare(["memory://web"], tmp_path / "out", config(), workers=workers)
    finally:
        memory.rm("/web", recursive=True)
    paths = [source["path"] for source in shards.index["sources"]]
    assert paths == [f"memory://web/{name}" for name in ("a.jsonl", "b.txt", "c.parquet")]
    assert [source["kept"] for source in shards.index["sources"]] == [1, 1, 1]
    assert "number 3 ." in text_of(shards)
    assert not list(tmp_path.rglob("fetched"))


def test_a_data_set_of_the_hub_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = datasets.Dataset.from_dict({"text": [PROSE.format(1), PROSE.format(2)]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: rows.to_iterable_dataset())
    [entry] = prepare(["hub:owner/name"], tmp_path / "out", config()).index["sources"]
    assert (entry["path"], entry["kept"], entry["column"]) == ("hub:owner/name", 2, "text")
