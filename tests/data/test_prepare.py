"""From texts to shards: the split, the tokenizer, and that all of the text is there once."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from gpt1.config import PrepareConfig
from gpt1.data import stages
from gpt1.data.prepare import prepare
from gpt1.data.shards import INDEX, Shards
from gpt1.errors import DataError
from gpt1.tokenizer import Tokenizer

WORDS = ["the", "cat", "sat", "on", "mat", "and", "dog", "ran", "home", "again"]


def document(number: int, words: int = 12) -> str:
    """A text that begins with its number."""
    rng = np.random.default_rng(number)
    return f"{number} " + " ".join(rng.choice(WORDS, words))


def source(folder: Path, documents: Sequence[str]) -> Path:
    path = folder / "texts.jsonl"
    lines = [json.dumps({"text": text}) + "\n" for text in documents]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def decoded(shards: Shards, split: str) -> str:
    ids = [token for part in shards.tokens(split) for token in part.tolist()]
    return Tokenizer.load(shards.folder).decode(ids, raw=True)


def words(text: str) -> list[str]:
    return text.split()


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def config(valid_fraction: float, vocab_size: int = 120) -> PrepareConfig:
    return PrepareConfig(vocab_size=vocab_size, valid_fraction=valid_fraction)


@pytest.mark.parametrize(
    ("fraction", "held_out"),
    [(0.25, [4, 8, 12, 16, 20]), (0.4, [3, 5, 8, 10, 13, 15, 18, 20]), (0.05, [20]), (0.0, [])],
)
def test_documents_are_held_out_evenly_and_stay_whole(
    tmp_path: Path, fraction: float, held_out: list[int]
) -> None:
    texts = {number: document(number) for number in range(1, 21)}
    path = source(tmp_path, list(texts.values()))
    shards = prepare([path], tmp_path / "out", config(fraction))
    expected = {"valid": "", "train": ""}
    for number, text in texts.items():
        expected["valid" if number in held_out else "train"] += f" {text}"
    for split, text in expected.items():
        assert words(decoded(shards, split)) == words(text)


def test_the_last_part_of_each_document_is_held_out_where_there_are_few(tmp_path: Path) -> None:
    texts = [document(1, 40), document(2, 60).replace(" ran ", " ran\n")]
    shards = prepare([source(tmp_path, texts)], tmp_path / "out", config(0.1))
    train, valid = (words(decoded(shards, split)) for split in ("train", "valid"))
    first, second = (words(text) for text in texts)
    kept, held = train.index("2"), len(first) - train.index("2")
    assert [*train[:kept], *valid[:held]] == first
    assert [*train[kept:], *valid[held:]] == second
    assert 0 < held <= 0.2 * len(first)
    assert 0 < len(valid) - held <= 0.2 * len(second)


def test_a_document_of_one_word_is_trained_on(tmp_path: Path) -> None:
    shards = prepare([source(tmp_path, ["again"])], tmp_path / "out", config(0.1, vocab_size=20))
    assert words(decoded(shards, "train")) == ["again"]
    assert shards.tokens("valid") == []


def test_no_document_is_cut_where_nothing_is_held_out(tmp_path: Path) -> None:
    text = document(1)
    shards = prepare([source(tmp_path, [text])], tmp_path / "out", config(0.0, vocab_size=40))
    assert words(decoded(shards, "train")) == words(text)
    assert shards.tokens("valid") == []


def test_several_inputs_are_read_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat", encoding="utf-8")
    (tmp_path / "b.txt").write_text("on the mat", encoding="utf-8")
    inputs = [tmp_path / "b.txt", tmp_path / "a.txt"]
    shards = prepare(inputs, tmp_path / "out", config(0.0, vocab_size=40))
    assert words(decoded(shards, "train")) == words("on the mat the cat sat")
    assert shards.index["inputs"] == [str(path) for path in inputs]
    assert [entry["path"] for entry in shards.index["sources"]] == shards.index["inputs"]
    assert (shards.index["documents"], shards.index["characters"]) == (2, 21)


def test_a_tokenizer_is_trained_with_the_asked_for_size(tmp_path: Path) -> None:
    path = source(tmp_path, [document(number) for number in range(30)])
    shards = prepare([path], tmp_path / "out", config(0.1, vocab_size=60))
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert tokenizer.vocab_size == 60
    assert shards.index["tokenizer"] == tokenizer.fingerprint


def test_a_given_tokenizer_is_used_and_kept_beside_the_shards(tmp_path: Path) -> None:
    given = Tokenizer.train(["the cat sat on the mat"] * 3, merges=5)
    given.save(tmp_path / "tokenizer")
    chosen = PrepareConfig(tokenizer=str(tmp_path / "tokenizer"), valid_fraction=0.0)
    shards = prepare([source(tmp_path, ["the cat", "sat on"])], tmp_path / "out", chosen)
    assert shards.index["tokenizer"] == given.fingerprint
    assert Tokenizer.load(tmp_path / "out").fingerprint == given.fingerprint
    (tokens,) = shards.tokens("train")
    assert tokens.tolist() == [*given.encode("the cat"), *given.encode("sat on")]


def test_equal_texts_give_equal_files(tmp_path: Path) -> None:
    path = source(tmp_path, [document(number) for number in range(12)])
    for name in ("first", "second"):
        prepare([path], tmp_path / name, config(0.25))
    names = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert {"train-00000.bin", "valid-00000.bin", INDEX, "tokenizer.json"} <= set(names)
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_what_was_there_stays_until_the_new_is_complete(tmp_path: Path) -> None:
    path = source(tmp_path, [document(number) for number in range(12)])
    before = prepare([path], tmp_path / "out", config(0.25))
    files = {file.name: file.read_bytes() for file in before.folder.iterdir()}

    def interrupt(doing: str, done: int, total: int) -> None:
        if doing == "tokenising":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([path], tmp_path / "out", config(0.5), advance=interrupt)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files
    prepare([path], tmp_path / "out", config(0.5))
    prepare([path], tmp_path / "other", config(0.5))
    assert contents(tmp_path / "out") == contents(tmp_path / "other")


def test_progress_counts_the_documents_of_each_stage(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = source(tmp_path, [document(number) for number in range(4)])
    prepare([path], tmp_path / "out", config(0.25), advance=lambda *args: told.append(args))
    training = [("training", done, 4) for done in (1, 2, 3, 4)]
    assert told == [("cleaning", 4, 0), *training, ("tokenising", 4, 4)]


def test_inputs_without_text_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = source(tmp_path, [" ", ""])
    with pytest.raises(DataError, match=r"there is no text in .*texts\.jsonl"):
        prepare([path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_chunks_of_any_size_hold_every_document_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [document(number, words=number % 7 + 1) for number in range(40)]
    path = source(tmp_path, texts)
    for chars in (1, 33, 10**6):
        monkeypatch.setattr(stages, "CHUNK_CHARS", chars)
        shards = prepare([path], tmp_path / str(chars), config(0.0))
        assert words(decoded(shards, "train")) == words(" ".join(texts))


def test_books_are_in_the_shards_whole_and_in_order(shared_data: Path, tmp_path: Path) -> None:
    books = shared_data / "books" / "books-00.jsonl.xz"
    with lzma.open(books, "rt", encoding="utf-8") as stream:
        lines = list(islice(map(json.loads, stream), 3))
    path = tmp_path / "books.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    released = PrepareConfig(tokenizer=str(shared_data / "openai-bpe"), valid_fraction=0.0)
    shards = prepare([path], tmp_path / "out", released, workers=2)
    tokenizer = Tokenizer.load(shared_data / "openai-bpe")
    # Repair is the first step of the tokenizer as well, so the ids are those of the book itself.
    expected = [token for line in lines for token in tokenizer.encode(line["text"])]
    (tokens,) = shards.tokens("train")
    assert tokens.tolist() == expected
    [entry] = shards.index["sources"]
    assert (entry["license"], entry["kept"], entry["dropped"]) == (["CC0-1.0"], 3, {})
    assert entry["tokens"] == len(expected)


def test_a_tokenizer_with_more_ids_than_a_shard_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tokenizer.train(["a b"], merges=1, min_frequency=1).save(tmp_path / "tokenizer")
    monkeypatch.setattr(Tokenizer, "vocab_size", 65_537)
    chosen = PrepareConfig(tokenizer=str(tmp_path / "tokenizer"))
    with pytest.raises(DataError, match=r"has 65537 ids, but those of a shard go up to 65535; use"):
        prepare([source(tmp_path, ["a"])], tmp_path / "out", chosen)
