"""That the benchmark of tokenising compares both sides on the same texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import tokenize
from benchmarks.options import Options

from gpt1.tokenizer import Tokenizer

JOKES = [f"Why didn't the {who} see the {what}? It can't!" for who in "abc" for what in "xyz"]


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    data = tmp_path / "jokes.csv"
    data.write_text("Joke\n" + "\n".join(JOKES) + "\n", encoding="utf-8")
    Tokenizer.train(JOKES, vocab_size=80, mode="original").save(tmp_path / "vocabulary")
    monkeypatch.setattr(tokenize, "SHARED_DATA", tmp_path / "nowhere")
    return Options(quick=True, data=data, vocabulary=tmp_path / "vocabulary")


def test_it_reports_each_pass_and_that_the_ids_agree(options: Options) -> None:
    report = tokenize.run(options)
    assert [row.measure for row in report.rows] == [
        "jokes, 1 thread, first time",
        "jokes, 1 thread, words known",
        "jokes, 2 threads, first time",
        "jokes, 2 threads, words known",
    ]
    assert all(value > 0 for row in report.rows for value in row.ours)
    assert report.same == {"ids in mode bert": True}


def test_texts_are_as_many_as_asked_for(options: Options) -> None:
    size = len(JOKES[0])
    assert tokenize.texts(str(options.data), size / 1e6) == JOKES[:1]
    assert tokenize.texts(str(options.data), (size + 1) / 1e6) == JOKES[:2]
    assert tokenize.texts(str(options.data), 1) == JOKES
