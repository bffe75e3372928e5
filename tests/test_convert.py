"""Conversions keep every bit, in both directions, through the API and the command."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

from gpt1.checkpoint import load_model, save_model
from gpt1.cli import convert as command
from gpt1.config import GPTConfig, LSTMConfig
from gpt1.convert import FORMATS, Conversion, convert
from gpt1.errors import CheckpointError, ConfigError
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.tokenizer import END_OF_TEXT, Tokenizer

CONFIG = GPTConfig(n_layer=2, n_head=1, n_embd=64, n_positions=6, vocab_size=50)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the cat sat on the mat"], merges=4, standardize=False)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "hf", GPT(CONFIG), tokenizer)
    return tmp_path / "hf"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_to_the_authors_format_and_back_gives_the_same_files(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        convert(folder, tmp_path / "shards", to="openai")
        convert(tmp_path / "shards", tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(folder)
    assert caplog.messages == []


def test_from_the_authors_format_and_back_gives_the_same_files(
    tmp_path: Path, folder: Path
) -> None:
    convert(folder, tmp_path / "shards", to="openai")
    convert(tmp_path / "shards", tmp_path / "hf2")
    convert(tmp_path / "hf2", tmp_path / "again", to="openai")
    assert files_of(tmp_path / "again") == files_of(tmp_path / "shards")
    names = {f"params_{number}.npy" for number in range(10)}
    names |= {"params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"}
    assert set(files_of(tmp_path / "shards")) == names


def test_the_tokenizer_comes_along(tmp_path: Path, folder: Path, tokenizer: Tokenizer) -> None:
    convert(folder, tmp_path / "shards", to="openai")
    assert Tokenizer.load(tmp_path / "shards").fingerprint == tokenizer.fingerprint


def test_the_authors_vocabulary_survives_a_round_trip(tmp_path: Path, shared_data: Path) -> None:
    released = shared_data / "openai-bpe"
    tokenizer = Tokenizer.load(released)
    model = GPT(CONFIG.replace(vocab_size=tokenizer.vocab_size))
    save_model(tmp_path / "hf", model, tokenizer)
    convert(tmp_path / "hf", tmp_path / "shards", to="openai")
    encoders = [
        json.loads((place / "encoder_bpe_40000.json").read_text())
        for place in (released, tmp_path / "shards")
    ]
    merges = [
        (place / "vocab_40000.bpe").read_text().split("\n")[1:]
        for place in (released, tmp_path / "shards")
    ]
    assert encoders[0] == encoders[1]
    assert merges[0] == merges[1]


def test_bfloat16_weights_become_equal_float32_shards(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = GPT(CONFIG).bfloat16()
    save_model(tmp_path / "hf", model, tokenizer)
    assert convert(tmp_path / "hf", tmp_path / "same").dtype == "bfloat16"
    assert convert(tmp_path / "hf", tmp_path / "shards", to="openai").dtype == "float32"
    loaded = load_model(tmp_path / "shards")
    assert torch.equal(loaded.tokens_embed.weight, model.tokens_embed.weight.float())


def test_the_result_says_what_was_done(tmp_path: Path, folder: Path) -> None:
    result = convert(folder, tmp_path / "shards", to="openai")
    count = load_model(folder).num_parameters()
    assert result == Conversion(str(folder), str(tmp_path / "shards"), "openai", count, "float32")


def test_a_checkpoint_can_be_replaced_but_nothing_else(tmp_path: Path, folder: Path) -> None:
    convert(folder, tmp_path / "copy")
    convert(folder, tmp_path / "copy")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="not one of ours; name a new"):
        convert(folder, tmp_path / "other")


def test_shards_are_not_put_beside_a_checkpoint_that_would_hide_them(folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds a checkpoint in the hf format, which would be"):
        convert(folder, folder, to="openai")


def test_what_the_authors_format_cannot_hold_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = Tokenizer.train(["the cat"], merges=1, standardize=False)
    tokenizer.add_special_tokens([END_OF_TEXT])
    save_model(tmp_path / "hf", GPT(CONFIG), tokenizer)
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "hf", tmp_path / "shards", to="openai")
    [message] = caplog.messages
    assert "special tokens and other settings of this tokenizer are left out" in message


def test_heads_of_another_width_are_given_by_number(tmp_path: Path, folder: Path) -> None:
    convert(folder, tmp_path / "shards", to="openai")
    convert(tmp_path / "shards", tmp_path / "back", n_head=4)
    assert load_model(tmp_path / "back").config.n_head == 4
    with pytest.raises(ConfigError, match=r"n_head is 4 but .* stores its own; omit it"):
        convert(folder, tmp_path / "other", n_head=4)


def test_a_full_disk_is_one_clear_error_in_either_format(tmp_path: Path, folder: Path) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX feature")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        for number, to in enumerate(FORMATS):
            with pytest.raises(CheckpointError, match=r"cannot write .*: .*needs about [\d,]+ byt"):
                convert(folder, tmp_path / str(number), to=to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_an_unknown_format_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="format is 'pt' but must be one of hf, openai"):
        convert(folder, tmp_path / "out", to="pt")  # type: ignore[arg-type]


def test_an_lstm_is_copied_but_has_no_place_in_the_authors_format(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    shape = LSTMConfig(vocab_size=tokenizer.vocab_size, n_positions=8, n_embd=4, n_units=6)
    save_model(tmp_path / "lstm", LSTM(shape), tokenizer)
    convert(tmp_path / "lstm", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "lstm")
    with pytest.raises(CheckpointError, match="the authors' format needs a Transformer, and this"):
        convert(tmp_path / "lstm", tmp_path / "shards", to="openai")
    assert not (tmp_path / "shards").exists()


def run_command(*words: str) -> int:
    parser = ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_the_command_converts_and_reports(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    assert run_command(str(folder), str(shards), "--format", "openai", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["format"] == "openai"
    assert report["destination"] == str(shards)
    assert run_command(str(shards), str(tmp_path / "back"), "--n-head", "2") == 0
    assert "destination" in capsys.readouterr().out
    assert load_model(tmp_path / "back").config.n_head == 2


@pytest.mark.slow
def test_the_real_shapes_survive_a_round_trip(tmp_path: Path, shared_data: Path) -> None:
    torch.manual_seed(0)
    save_model(tmp_path / "hf", GPT(), Tokenizer.load(shared_data / "openai-bpe"))
    convert(tmp_path / "hf", tmp_path / "shards", to="openai")
    released = json.loads((shared_data / "openai-bpe" / "params_shapes.json").read_text())
    assert json.loads((tmp_path / "shards" / "params_shapes.json").read_text()) == released
    assert convert(tmp_path / "shards", tmp_path / "back").parameters == 116_534_784
    weights = [tmp_path / name / "model.safetensors" for name in ("hf", "back")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
