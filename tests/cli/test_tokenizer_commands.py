"""``tokenizer train``, ``encode`` and ``decode``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.tokenizer import Tokenizer


def test_encode_prints_the_ids_and_decode_the_text(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "encode", "The old dog.", "--model", str(tiny_model)]) == 0
    ids = capsys.readouterr().out
    assert [int(word) for word in ids.split()] == Tokenizer.load(tiny_model).encode("The old dog.")
    assert main(["tokenizer", "decode", ids, "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out == "the old dog.\n"
    assert main(["tokenizer", "decode", ids, "--raw", "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out == "the old dog .\n"


def test_encode_reads_lines_and_prints_json(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("the dog\nthe cat\n"))
    assert main(["tokenizer", "encode", "-", "--json", "--model", str(tiny_model)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokenizer = Tokenizer.load(tiny_model)
    assert lines == [tokenizer.encode("the dog"), tokenizer.encode("the cat")]


def test_encode_can_show_the_pieces(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "encode", "the", "--pieces", "--model", str(tiny_model)]) == 0
    assert capsys.readouterr().out.split()[1::2] == ["the</w>"]


def test_decode_refuses_what_is_no_id(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "decode", "12 cat", "--model", str(tiny_model)]) == 2
    assert "'cat' is not a token id" in capsys.readouterr().err


def test_train_writes_a_tokenizer_that_loads(
    texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(texts_csv), "--out", str(tmp_path / "tok"), "--vocab-size", "50", "--json"]
    assert main(["tokenizer", "train", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    tokenizer = Tokenizer.load(tmp_path / "tok")
    assert facts["vocab_size"] == len(tokenizer) == 50
    assert facts["sha256"] == tokenizer.fingerprint
