"""`gpt1 evaluate perplexity`, run as a user runs it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.language_model import LanguageModel
from lively import lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
LM = LanguageModel(lively_model(TOKENIZER.vocab_size), TOKENIZER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "lively"
    LM.save(folder)
    return str(folder)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("id,words\n1,the quick fox\n2,the lazy dog's nose\n", encoding="utf-8")
    return path


def test_json_prints_every_figure(
    folder: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(table), "--text-column", "words", "--prefix", "he said: "]
    assert main(["evaluate", "perplexity", "--model", folder, "--json", *words]) == 0
    expected = LM.perplexity(table, text_column="words", prefix="he said: ")
    assert json.loads(capsys.readouterr().out) == dataclasses.asdict(expected)


def test_people_get_a_line_a_figure(
    folder: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "perplexity", "--model", folder, "--data", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    result = LM.perplexity(table)
    assert f"perplexity          {round(result.perplexity, 4):,}" in lines
    assert f"tokens              {result.tokens}" in lines
    assert len(lines) == len(dataclasses.fields(result))


def test_a_missing_file_is_a_mistake(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "perplexity", "--model", folder, "--data", "nowhere.txt"]) == 2
    assert "nowhere.txt" in capsys.readouterr().err


def test_data_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "perplexity"]) == 2
    assert "data" in capsys.readouterr().err
