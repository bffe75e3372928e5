"""`gpt1 evaluate zero-shot`, run as a user runs it."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest

from gpt1.cli import progress
from gpt1.cli.main import main
from gpt1.cli.scoring_progress import scoring_progress
from gpt1.evaluation.label_words import classify_by_words
from gpt1.evaluation.zero_shot import compare_options, zero_shot
from gpt1.language_model import LanguageModel
from lively import lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
LM = LanguageModel(lively_model(TOKENIZER.vocab_size, n_positions=40), TOKENIZER)
SENTENCES: list[dict[str, Any]] = [
    {"sentence": "The fox jumps.", "label": 1},
    {"sentence": "It quick the", "label": 0},
    {"sentence": "the lazy dog's nose", "label": 1},
    {"sentence": "isn't it", "label": 0},
]
PRONOUNS: list[dict[str, Any]] = [
    {
        "text": "The dog saw the fox, and it jumps.",
        "span": [25, 27],
        "options": ["The dog", "the fox"],
        "label": 1,
    }
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "lively"
    LM.save(folder)
    return str(folder)


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    write(tmp_path / "tasks/cola/train.jsonl", SENTENCES)
    write(tmp_path / "tasks/cola/dev.jsonl", SENTENCES[:3])
    write(tmp_path / "tasks/dprd/test.jsonl", PRONOUNS)
    return tmp_path / "tasks"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("text,class\nThe quick fox,fast\nthe dog,slow\nit,fast\n", encoding="utf-8")
    return path


def run(*words: object) -> int:
    return main(["evaluate", "zero-shot", *map(str, words)])


def test_json_holds_a_result_a_task(
    folder: str, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data", tasks, "--model", folder, "--json") == 0
    expected = [
        zero_shot(LM, "cola", SENTENCES[:3], train_rows=SENTENCES).summary(),
        zero_shot(LM, "dprd", PRONOUNS).summary(),
    ]
    assert json.loads(capsys.readouterr().out) == {"results": expected}


def test_options_are_compared_in_a_table(
    folder: str, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dprd", "--data", tasks, "--model", folder, "--compare-options") == 0
    output = capsys.readouterr().out
    results = compare_options(LM, "dprd", PRONOUNS)
    assert output.count("accuracy") == len(results)
    assert "scored=full  reduction=sum" in output


def test_an_option_and_a_subset_are_used(
    folder: str, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cola", "--data", tasks / "cola/dev.jsonl", "--model", folder, "--json"]
    assert run(*words, "--reduction", "sum", "--subset", "2") == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert (result["n"], result["options"]["reduction"]) == (2, "sum")


def test_predictions_are_written_for_every_example(
    folder: str, tasks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    assert run("--data", tasks, "--model", folder, "--predictions", out) == 0
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["task"] for record in records] == ["cola"] * 3 + ["dprd"]
    assert records[-1]["scores"] == zero_shot(LM, "dprd", PRONOUNS).scores[0]


def test_labels_classify_a_file_and_compare_with_its_classes(
    folder: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    labels = {"slow": "lazy", "fast": "quick fox"}
    words = ["--labels", "slow=lazy,fast=quick fox", "--data", reviews, "--model", folder]
    assert run(*words, "--json", "--predictions", out, "--template", "{text} is") == 0
    texts = ["The quick fox", "the dog", "it"]
    found = classify_by_words(LM, texts, labels, template="{text} is")
    facts = json.loads(capsys.readouterr().out)
    right = [a == b for a, b in zip(found.labels, ["fast", "slow", "fast"], strict=True)]
    assert facts["accuracy"] == pytest.approx(sum(right) / 3)
    assert facts["texts"] == 3
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == texts
    assert [row["label"] for row in rows] == ["fast", "slow", "fast"]
    assert [row["prediction"] for row in rows] == found.labels
    for name, value in found.probabilities[0].items():
        assert float(rows[0][f"probabilities.{name}"]) == value


def test_without_classes_labels_only_predict(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plain.jsonl"
    write(file, [{"text": "the fox"}, {"text": "the dog"}])
    words = ["--labels", "lazy,quick", "--data", file, "--model", folder, "--json"]
    assert run(*words, "--calibrate", "--subset", 1) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["texts"] == 1
    assert "accuracy" not in facts


def test_classes_that_are_no_labels_are_left_alone_with_a_word(
    folder: str, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--labels", "lazy,quick", "--data", reviews, "--model", folder, "--json") == 0
    told = capsys.readouterr()
    assert "accuracy" not in json.loads(told.out)
    assert "column 'class' holds the class 'fast', but --labels names lazy, quick" in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--subset", "0"], "--subset is 0 but must be at least 1"),
        (["--predictions", "out.txt"], "'out.txt' but must end in .jsonl or .csv"),
        (["--labels", "a,,b"], "--labels is 'a,,b' but must be different words"),
        (["--labels", "a,a"], "--labels is 'a,a' but must be different words"),
        (["--labels", "a,b", "--label-column", "none"], "has no column 'none'; its columns are"),
        (["--labels", "a,b", "--label-column", "class"], "holds the class 'fast', but --labels"),
        (["cola", "race"], "is of one task, but 2 are named"),
    ],
)
def test_a_mistake_is_told(
    words: list[str], message: str, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "--data", reviews) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_empty_file_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "empty.jsonl", [])
    assert run("--labels", "a,b", "--data", tmp_path / "empty.jsonl") == 2
    assert "has no rows; there is nothing to classify" in capsys.readouterr().err


def test_progress_tells_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    clock = iter([0.0, 10.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "say", lines.append)
    with scoring_progress("race") as advance:
        advance(1000, 4000)
        advance(4000, 4000)
        advance(500, 1500)  # the next pass begins
        advance(1500, 1500)
    assert lines[0] == "race: 1,000/4,000 tokens  100 tokens/s  ETA 0.5 min"
    assert len(lines) == 3
