"""`gpt1 evaluate perplexity`, run as a user runs it."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.evaluation.scoring import Document
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
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(expected)))


def test_people_get_a_line_a_figure(
    folder: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "perplexity", "--model", folder, "--data", str(table)]) == 0
    out, err = capsys.readouterr()
    lines, result = out.splitlines(), LM.perplexity(table)
    assert result.interval is not None
    low, high = result.interval.perplexity
    shown = f"{result.perplexity:,.4f}  (95%: {low:,.4f} to {high:,.4f})"
    assert f"perplexity          {shown}" in lines
    assert f"tokens              {result.tokens}" in lines
    assert "interval" not in out
    assert len(lines) == len(fields(result)) - 1
    assert "scoring ..." in err


def test_of_one_text_people_are_told_why_there_is_no_interval(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.txt").write_text("the quick fox", encoding="utf-8")
    words = ["--model", folder, "--data", str(tmp_path / "one.txt")]
    assert main(["evaluate", "perplexity", *words]) == 0
    out = capsys.readouterr().out
    assert "interval            none: one text leaves nothing to resample\n" in out
    assert main(["evaluate", "perplexity", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["interval"] is None


def test_stride_and_seed_reach_the_measurement(
    folder: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", folder, "--data", str(table), "--prefix", "the lazy dog " * 9, "--json"]
    assert main(["evaluate", "perplexity", *words, "--stride", "1", "--seed", "4"]) == 0
    expected = LM.perplexity(table, prefix="the lazy dog " * 9, stride=1, seed=4)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(expected)))
    assert main(["evaluate", "perplexity", *words, "--stride", "17"]) == 2
    assert "stride is 17 but must be from 1" in capsys.readouterr().err


def test_documents_are_written_as_jsonl_or_csv(folder: str, table: Path, tmp_path: Path) -> None:
    documents: list[Document] = []
    LM.perplexity(table, documents=documents.append)
    expected = [asdict(document) for document in documents]
    assert [row["name"] for row in expected] == ["table.csv:2", "table.csv:3"]
    for kind in (".jsonl", ".csv"):
        out = str(tmp_path / f"out{kind}")
        words = ["--model", folder, "--data", str(table), "--documents", out]
        assert main(["evaluate", "perplexity", *words]) == 0
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == expected
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{name: str(value) for name, value in row.items()} for row in expected]


def test_documents_of_another_kind_or_that_exist_are_refused(
    folder: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "perplexity", "--model", folder, "--data", str(table), "--documents"]
    assert main([*words, "out.txt"]) == 2
    message = "--documents is out.txt but its name must end in .jsonl or .csv"
    assert message in capsys.readouterr().err
    content = table.read_text(encoding="utf-8")
    assert main([*words, str(table)]) == 2
    assert "table.csv exists; name another file for --documents" in capsys.readouterr().err
    assert table.read_text(encoding="utf-8") == content


def test_a_missing_file_is_a_mistake(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "perplexity", "--model", folder, "--data", "nowhere.txt"]) == 2
    assert "nowhere.txt" in capsys.readouterr().err


def test_data_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "perplexity"]) == 2
    assert "data" in capsys.readouterr().err
