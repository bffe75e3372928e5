"""``gpt1 tokenizer diff``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.evaluation.tokenizer_diff import compare_modes
from gpt1.language_model import load
from gpt1.tokenizer import Tokenizer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text('Text\n"the dog can\'t see"\nthe old cat\n"cat\n\ndog"\n', encoding="utf-8")
    return path


def test_the_figures_and_words_are_printed(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "diff", str(data), "--tokenizer", str(tiny_model)]) == 0
    printed = capsys.readouterr()
    assert "with other ids           2 (66.7%)" in printed.out
    assert "can't" in printed.out
    assert "\\n" in printed.out
    assert "loss" not in printed.out
    assert "comparing ..." in printed.err


def test_the_json_holds_the_losses_of_a_model(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "diff", str(data), "--model", str(tiny_model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    texts = ["the dog can't see", "the old cat", "cat\n\ndog"]
    expected = compare_modes(texts, Tokenizer.load(tiny_model))
    assert found["differing"] == expected.differing
    assert [word["word"] for word in found["words"]] == [word.word for word in expected.words]
    for mode, losses in found["losses"].items():
        lm = load(tiny_model, tokenizer_mode=mode)
        assert losses["nats_per_token"] == lm.perplexity(texts).nats_per_token


def test_losses_are_printed_for_people(
    data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "diff", str(data), "--model", str(tiny_model), "--top", "0"]) == 0
    out = capsys.readouterr().out
    assert "loss in mode original" in out
    assert "can't" not in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "mini", "--tokenizer", "mini"], "--model and --tokenizer are both given"),
        (["--top", "-1"], "--top is -1 but must be at least 0"),
    ],
)
def test_mistakes_are_named(
    data: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", "diff", str(data), *flags]) == 2
    assert message in capsys.readouterr().err
