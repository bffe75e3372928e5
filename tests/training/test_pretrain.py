"""Pre-training, from texts or shards to a loadable model."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import gpt1
from gpt1.config import GPTConfig, LSTMConfig, PrepareConfig, TrainingConfig
from gpt1.data.prepare import prepare
from gpt1.errors import ConfigError, DataError
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.pretrain import pretrain
from gpt1.training.tracking import LogWatcher, read_metrics

MODEL = GPTConfig(n_positions=16, n_embd=16, n_layer=1, n_head=2)
RECURRENT = LSTMConfig(n_positions=16, n_embd=16, n_units=24)
PREPARE = PrepareConfig(vocab_size=60, valid_fraction=0.2)
TRAINING = TrainingConfig(
    lr=0.01, max_steps=12, batch_size=8, eval_every_steps=6, log_every_steps=1
)


class Interrupting(LogWatcher):
    """Asks the run to stop at a step, or leaves at once while the data is being prepared."""

    def __init__(self, at: int = 0, doing: str = "") -> None:
        self.at = at
        self.doing = doing

    def advance(self, doing: str, done: int, total: int) -> None:
        if doing == self.doing:
            raise KeyboardInterrupt

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A text of a thousand words with a little order in it."""
    rng = np.random.default_rng(0)
    pairs = ["the cat", "the dog", "sat down", "ran home", "and then"]
    path = tmp_path / "book.txt"
    path.write_text(" ".join(rng.choice(pairs, 500)), encoding="utf-8")
    return path


def run(data: Path, out: Path, training: TrainingConfig = TRAINING, **arguments: Any) -> Any:
    return pretrain(data, out, training, MODEL, PREPARE, **arguments)


def test_texts_become_a_model_that_loads_and_whose_loss_fell(book: Path, tmp_path: Path) -> None:
    result = run(book, tmp_path / "out")
    assert result.complete
    losses = [
        row["loss"] for row in read_metrics(tmp_path / "out" / "metrics.jsonl") if "loss" in row
    ]
    assert losses[-1] < 0.8 * losses[0]
    assert result.best_loss < 0.8 * result.first_loss
    lm = gpt1.load(tmp_path / "out")
    assert lm.model.config == MODEL.replace(vocab_size=lm.tokenizer.vocab_size)
    assert lm.tokenizer.vocab_size <= 60
    assert lm.generate("the", max_new_tokens=3).startswith("the ")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_lstm_is_trained_stopped_and_resumed_by_the_same_loop(
    book: Path, tmp_path: Path, precision: Any
) -> None:
    training = replace(TRAINING, precision=precision)

    def train(name: str, **arguments: Any) -> Any:
        return pretrain(book, tmp_path / name, training, RECURRENT, PREPARE, **arguments)

    whole = train("whole")
    assert whole.best_loss < 0.8 * whole.first_loss
    assert not train("cut", watch=Interrupting(5)).complete
    assert train("cut", resume=True).best_loss == whole.best_loss
    lm = gpt1.load(tmp_path / "whole")
    assert isinstance(lm.model, LSTM)
    assert lm.model.config == RECURRENT.replace(vocab_size=lm.tokenizer.vocab_size)
    card = (tmp_path / "whole" / "README.md").read_text(encoding="utf-8")
    assert "An LSTM language model" in card
    assert "| units, width | 24, 16 |" in card
    settings = yaml.safe_load((tmp_path / "whole" / "run.yaml").read_text(encoding="utf-8"))
    assert (settings["model_type"], settings["lstm"]["n_units"]) == ("lstm", 24)


def test_a_run_of_one_kind_of_model_is_not_resumed_with_the_other(
    book: Path, tmp_path: Path
) -> None:
    run(book, tmp_path / "out")
    with pytest.raises(ConfigError, match="other settings: model_type was None and is 'lstm'"):
        pretrain(book, tmp_path / "out", TRAINING, RECURRENT, PREPARE, resume=True)


def test_snapshots_are_the_models_on_the_way(book: Path, tmp_path: Path) -> None:
    run(book, tmp_path / "out", replace(TRAINING, max_steps=3, snapshot_steps=(0, 2, 3, 100)))
    snapshots = tmp_path / "out" / "snapshots"
    names = [f"step-{step:08d}" for step in (0, 2, 3)]
    assert sorted(path.name for path in snapshots.iterdir()) == names
    lms = [gpt1.load(snapshots / name) for name in names]
    torch.manual_seed(TRAINING.seed)
    untrained = GPT(lms[0].model.config).state_dict()
    torch.testing.assert_close(lms[0].model.state_dict(), untrained, rtol=0, atol=0)
    assert len({lm.score("the cat sat down").sum for lm in lms}) == 3
    last = [path / "model.safetensors" for path in (snapshots / names[2], tmp_path / "out")]
    assert last[0].read_bytes() == last[1].read_bytes()


def test_a_resumed_run_has_the_snapshots_of_one_that_never_stopped(
    book: Path, tmp_path: Path
) -> None:
    training = replace(TRAINING, max_steps=6, save_every_steps=2, snapshot_steps=(0, 3, 4, 6))

    def files(name: str) -> dict[str, bytes]:
        folder = tmp_path / name / "snapshots"
        paths = sorted(folder.rglob("model.safetensors"))
        return {path.parent.name: path.read_bytes() for path in paths}

    def die(step: int, *_: Any) -> None:
        if step == 4:
            raise KeyError

    run(book, tmp_path / "whole", training)
    died = LogWatcher()
    died.update = die  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        run(book, tmp_path / "cut", training, watch=died)
    assert list(files("cut")) == ["step-00000000", "step-00000003"]
    run(book, tmp_path / "cut", training, resume=True)
    assert files("cut") == files("whole")
    assert list(files("whole")) == [f"step-{step:08d}" for step in (0, 3, 4, 6)]


def test_the_run_file_holds_model_preparation_and_training(book: Path, tmp_path: Path) -> None:
    run(book, tmp_path / "out")
    settings = yaml.safe_load((tmp_path / "out" / "run.yaml").read_text(encoding="utf-8"))
    assert settings["data"] == str(book)
    assert settings["model"]["n_embd"] == 16
    assert settings["prepare"]["vocab_size"] == 60
    assert settings.keys() == {"data", "model", "prepare"} | TRAINING.__dataclass_fields__.keys()


def test_shards_are_trained_on_as_they_are(book: Path, tmp_path: Path) -> None:
    shards = prepare([book], tmp_path / "shards", PREPARE)
    result = run(tmp_path / "shards", tmp_path / "out")
    from_text = run(book, tmp_path / "other")
    assert result.best_loss == from_text.best_loss
    assert not (tmp_path / "out" / "data").exists()
    assert Tokenizer.load(tmp_path / "out").fingerprint == shards.index["tokenizer"]


def test_data_too_short_to_validate_on_is_trained_on_without(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("the cat sat on the mat " * 4, encoding="utf-8")
    result = run(tmp_path / "short.txt", tmp_path / "out")
    assert result.complete
    assert result.best_loss is None
    assert gpt1.load(tmp_path / "out").model.config.n_layer == 1


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_interrupted_and_resumed_run_equals_one_that_never_stopped(
    book: Path, tmp_path: Path, optimizer: str
) -> None:
    training = TrainingConfig(
        lr=0.01,
        max_steps=5,
        batch_size=4,
        optimizer=gpt1.config.OptimizerConfig(name=optimizer),  # type: ignore[arg-type]
    )
    whole = run(book, tmp_path / "whole", training)
    assert not run(book, tmp_path / "cut", training, watch=Interrupting(2)).complete
    before = (tmp_path / "cut" / "data" / "index.json").stat().st_mtime_ns
    second = run(book, tmp_path / "cut", training, resume=True)
    assert second.complete
    assert second.best_loss == whole.best_loss
    assert (tmp_path / "cut" / "data" / "index.json").stat().st_mtime_ns == before
    kept = [tmp_path / name / "model.safetensors" for name in ("whole", "cut")]
    assert kept[0].read_bytes() == kept[1].read_bytes()


@pytest.mark.parametrize("doing", ["training", "tokenising"])
def test_a_run_that_died_while_preparing_is_started_again_even_with_other_texts(
    book: Path, tmp_path: Path, doing: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(book, tmp_path / "out", watch=Interrupting(doing=doing))
    other = tmp_path / "other.txt"
    other.write_text("quite another book " * 200, encoding="utf-8")
    assert run(other, tmp_path / "out").complete
    assert gpt1.load(tmp_path / "out").tokenizer.decode(
        np.memmap(tmp_path / "out" / "data" / "train-00000.bin", dtype="<u2")[:3].tolist()
    ) == ("quite another book")


def test_texts_prepared_by_a_run_that_kept_nothing_are_prepared_anew(
    book: Path, tmp_path: Path
) -> None:
    too_long = TrainingConfig(seq_len=17, max_steps=1)
    with pytest.raises(ConfigError, match="seq_len is 17 but the model takes 16 positions at most"):
        run(book, tmp_path / "out", too_long)
    other = tmp_path / "other.txt"
    other.write_text("quite another book " * 200, encoding="utf-8")
    assert run(other, tmp_path / "out").complete
    assert "quite" in gpt1.load(tmp_path / "out").tokenizer.decode(
        np.memmap(tmp_path / "out" / "data" / "train-00000.bin", dtype="<u2")[:3].tolist()
    )


def test_a_folder_with_a_run_is_refused(book: Path, tmp_path: Path) -> None:
    run(book, tmp_path / "out")
    with pytest.raises(ConfigError, match="out holds a run or a model already"):
        run(book, tmp_path / "out")


def test_resuming_with_another_model_is_refused_by_name(book: Path, tmp_path: Path) -> None:
    run(book, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"other settings: model was .*'n_layer': 1.* and is .*2"):
        pretrain(book, tmp_path / "out", TRAINING, MODEL.replace(n_layer=2), PREPARE, resume=True)


def test_shards_whose_tokenizer_was_exchanged_are_refused(book: Path, tmp_path: Path) -> None:
    prepare([book], tmp_path / "shards", PREPARE)
    Tokenizer.train(["something else"], merges=2).save(tmp_path / "shards")
    with pytest.raises(DataError, match="was made with another tokenizer"):
        run(tmp_path / "shards", tmp_path / "out")


def test_data_shorter_than_a_sequence_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("the cat sat", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape("less than one sequence of 16; give more text")):
        run(tmp_path / "short.txt", tmp_path / "out")


def test_a_device_that_is_not_there_is_refused(book: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device 'nowhere' cannot be used here"):
        run(book, tmp_path / "out", TrainingConfig(device="nowhere", max_steps=1))
