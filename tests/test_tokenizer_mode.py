"""The tokenizer mode travels with shards and checkpoints, and can be chosen where one is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import gpt1
from gpt1.checkpoint import save_model
from gpt1.cli.main import main
from gpt1.config import GPTConfig, PrepareConfig, TextConfig, TrainingConfig
from gpt1.convert import convert
from gpt1.data.prepare import prepare
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.finetune import finetune_lm
from gpt1.training.pretrain import pretrain

TEXT = "The dog can't see\nthe cat's tail... It isn't there. "
SHORT = TrainingConfig(max_steps=1, batch_size=2, seq_len=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model whose tokenizer is in mode ``original``."""
    tokenizer = Tokenizer.train([TEXT] * 3, vocab_size=120, mode="original")
    torch.manual_seed(0)
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=16, vocab_size=len(tokenizer))
    folder = tmp_path_factory.mktemp("modes") / "model"
    save_model(folder, GPT(shape), tokenizer)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT * 20, encoding="utf-8")
    return path


def test_a_model_loads_in_its_own_mode_or_the_one_asked_for(model: Path) -> None:
    assert gpt1.load(model).tokenizer.mode == "original"
    assert gpt1.load(model, tokenizer_mode="bert").tokenizer.mode == "bert"
    assert gpt1.load("mini").tokenizer.mode == "bert"


@pytest.mark.parametrize("mode", [None, "bert"])
def test_a_fine_tuned_model_keeps_the_mode_it_was_trained_in(
    model: Path, data: Path, tmp_path: Path, mode: str | None
) -> None:
    texts = TextConfig(data=str(data), tokenizer_mode=mode)  # type: ignore[arg-type]
    finetune_lm(model, texts, tmp_path / "run", SHORT)
    assert Tokenizer.load(tmp_path / "run").mode == (mode or "original")
    settings = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text(encoding="utf-8"))
    assert settings["tokenizer_mode"] == mode


@pytest.mark.parametrize("mode", [None, "bert"])
def test_shards_keep_the_mode_of_their_tokenizer(
    model: Path, data: Path, tmp_path: Path, mode: str | None
) -> None:
    config = PrepareConfig(tokenizer=str(model), tokenizer_mode=mode)  # type: ignore[arg-type]
    shards = prepare([data], tmp_path / "shards", config)
    tokenizer = Tokenizer.load(tmp_path / "shards")
    assert tokenizer.mode == (mode or "original")
    assert shards.index["tokenizer"] == tokenizer.fingerprint


def test_a_pretrained_model_keeps_the_mode_of_its_new_tokenizer(data: Path, tmp_path: Path) -> None:
    preparation = PrepareConfig(vocab_size=100, tokenizer_mode="original", valid_fraction=0)
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=16)
    pretrain(data, tmp_path / "run", SHORT, shape, preparation)
    assert Tokenizer.load(tmp_path / "run").mode == "original"


def test_conversion_keeps_the_mode(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    lm = gpt1.load(model, tokenizer_mode="bert")
    lm.save(folder)
    for source, mode in ((model, "original"), (folder, "bert")):
        convert(source, tmp_path / f"to-{mode}")
        assert gpt1.load(tmp_path / f"to-{mode}").tokenizer.mode == mode
    convert(model, tmp_path / "release", to="openai")
    assert Tokenizer.load(tmp_path / "release").mode == "original"


def test_commands_take_the_mode(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "perplexity", "--model", str(model), "--data", str(data), "--json"]
    tokens = {}
    for mode in ("original", "bert"):
        assert main([*words, "--tokenizer-mode", mode]) == 0
        tokens[mode] = json.loads(capsys.readouterr().out)["tokens"]
        assert tokens[mode] == len(Tokenizer.load(model, mode).encode(TEXT * 20)) - 1
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == tokens["original"] != tokens["bert"]


def test_a_wrong_mode_is_a_users_mistake(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tokenizer", "encode", "a", "--model", str(model), "--tokenizer-mode", "gpt2"]
    assert main(words) == 2
    assert "gpt2" in capsys.readouterr().err
