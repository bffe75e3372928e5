"""`gpt1 explain` with a task model, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.config import HeadConfig, TaskConfig, TrainingConfig
from gpt1.evaluation.attribution import attribute
from gpt1.evaluation.attribution_page import html_page
from gpt1.task_checkpoint import load_task_model, save_task_model
from gpt1.tasks.example import choice, pair, text
from gpt1.training.finetune_task import new_task_model

WORDS = "the old dog met the cat"
HEADS = (
    HeadConfig(layout="text", classes=("good", "bad")),
    HeadConfig(layout="pair", label_std=2.0),
    HeadConfig(layout="choice"),
)


@pytest.fixture(scope="module")
def folders(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained task models, each in a folder named after its layout."""
    folder = tmp_path_factory.mktemp("tasks")
    for head in HEADS:
        tokenizer, model = new_task_model(tiny_model, head, TaskConfig(), TrainingConfig())
        save_task_model(folder / head.layout, model, tokenizer)
    return folder


def explain(*words: str) -> int:
    return main(["explain", *words])


def test_the_prediction_of_a_task_model_is_explained(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "why.html"
    options = ["--model", str(folders / "text"), "--top", "2", "--html", str(page)]
    assert explain(WORDS, *options) == 0
    shown = capsys.readouterr().out
    found = attribute(*load_task_model(folders / "text"), text(WORDS))
    assert shown.startswith(f"predicted {found.label}, {found.figure:.1%}")
    rows = [line.split()[1] for line in shown.splitlines() if line.startswith("│")]
    assert rows == [word.text for word in found.strongest(2)]
    assert page.read_text(encoding="utf-8") == html_page(found)


def test_a_label_a_method_and_several_texts(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--label", "bad", "--method", "gradient", "--json"]
    assert explain(WORDS, "--model", str(folders / "text"), *options) == 0
    found = attribute(*load_task_model(folders / "text"), text(WORDS), "bad", "gradient")
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_dict()))
    assert explain("the old", "cat", "--model", str(folders / "pair"), "--json") == 0
    expected = attribute(*load_task_model(folders / "pair"), pair("the old", "cat"))
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(expected.figure)
    words = ["the dog", "met", "saw", "--label", "1", "--model", str(folders / "choice"), "--json"]
    assert explain(*words) == 0
    chosen = attribute(*load_task_model(folders / "choice"), choice("the dog", ["met", "saw"]), 1)
    assert json.loads(capsys.readouterr().out)["probability"] == pytest.approx(chosen.figure)


@pytest.mark.parametrize(
    ("layout", "words", "message"),
    [
        ("text", ["a", "b"], "the model reads one text, but there are 2"),
        ("pair", ["a"], "the model reads two texts, but there is 1"),
        ("choice", ["a", "b"], "the model reads a context and two or more options, but there are"),
        ("choice", ["a", "b", "c", "--label", "x"], "--label is 'x' but must be the number of an"),
        ("text", [" "], "there are no words to explain the prediction by"),
        ("text", ["a", "--lens"], "--lens is for language models, but"),
        ("text", ["a", "--label", "nice"], "label is 'nice' but must be one of good, bad"),
    ],
)
def test_mistakes_are_told_in_one_line(
    folders: Path,
    layout: str,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert explain(*words, "--model", str(folders / layout)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_what_is_for_task_models_is_refused_with_a_language_model(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("a", "--label", "x", "--model", str(tiny_model)) == 2
    assert "--label is for task models, but" in capsys.readouterr().err
    assert explain("a", "--method", "gradient", "--model", str(tiny_model)) == 2
    assert "--method is for task models, but" in capsys.readouterr().err
    assert explain("a", "b", "--model", str(tiny_model)) == 2
    assert "a language model reads one text, but there are 2" in capsys.readouterr().err
