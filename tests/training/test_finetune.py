"""Fine-tuning on texts, from file to loadable model."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import gpt1
from gpt1.checkpoint import load_model
from gpt1.config import OptimizerConfig, ScheduleConfig, TextConfig, TrainingConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.tokenizer import Tokenizer
from gpt1.training.finetune import add_end_token, encode_splits, finetune_lm
from gpt1.training.run import RunResult
from gpt1.training.tracking import LogWatcher, read_metrics

END = "<|endoftext|>"
SHORT = TrainingConfig(lr=0.01, max_steps=2, batch_size=4, log_every_steps=1)


class Interrupting(LogWatcher):
    """Asks the run to stop at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


Finetune = Callable[..., RunResult]


@pytest.fixture
def finetune(base_model: Path, sentences: Path, tmp_path: Path) -> Finetune:
    """Fine-tunes the base model in ``tmp_path / out``; keywords of texts and run can be changed."""

    def run(
        out: str = "out", training: TrainingConfig = SHORT, resume: bool = False, **texts: Any
    ) -> RunResult:
        config = TextConfig(**{"data": str(sentences), "valid_fraction": 0.2, **texts})
        return finetune_lm(base_model, config, tmp_path / out, training, resume=resume)

    return run


@pytest.fixture(scope="module")
def trained(
    base_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunResult, list[str]]:
    """A run that learns ten sentences by heart, and the sentences."""
    folder = tmp_path_factory.mktemp("trained")
    texts = [f"the {what} is {how}" for what in ("car", "cat") for how in ("red", "old", "small")]
    texts += [f"{who} sees the cat" for who in ("anna", "bob", "carl", "the dog")]
    (folder / "texts.txt").mkdir()
    for number, text in enumerate(texts):
        (folder / "texts.txt" / f"{number}.txt").write_text(text, encoding="utf-8")
    config = TextConfig(data=str(folder / "texts.txt"), valid_data=str(folder / "texts.txt"))
    training = TrainingConfig(
        lr=0.01,
        max_steps=60,
        batch_size=8,
        eval_every_steps=20,
        log_every_steps=5,
        schedule=ScheduleConfig(warmup_steps=5),
    )
    return finetune_lm(base_model, config, folder / "out", training), texts


def test_snapshots_are_models_with_the_end_token(finetune: Finetune, tmp_path: Path) -> None:
    finetune(training=TrainingConfig(max_steps=2, batch_size=4, snapshot_steps=(1,)))
    lm = gpt1.load(tmp_path / "out" / "snapshots" / "step-00000001")
    assert lm.tokenizer.end_of_text_id == lm.model.config.vocab_size - 1


def test_an_lstm_is_refused_since_it_cannot_read_packed_texts(
    base_lstm: Path, sentences: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="fine-tuning on packed texts needs a Transformer"):
        finetune_lm(base_lstm, TextConfig(data=str(sentences)), tmp_path / "out", SHORT)
    assert not (tmp_path / "out").exists()


def test_the_losses_fall(trained: tuple[RunResult, list[str]]) -> None:
    result, _ = trained
    losses = [row["loss"] for row in read_metrics(result.out / "metrics.jsonl") if "loss" in row]
    assert result.complete
    assert result.step == 60
    assert losses[-1] < losses[0] / 3
    assert result.first_loss is not None
    assert result.best_loss is not None
    assert result.best_loss < result.first_loss / 3


def test_the_result_loads_and_scores_as_well_as_the_run_said(
    trained: tuple[RunResult, list[str]],
) -> None:
    result, texts = trained
    lm = gpt1.load(result.out)
    end = lm.tokenizer.token_id(END)
    loss, targets = 0.0, 0
    for text in texts:
        ids = torch.tensor([[*lm.tokenizer.encode(text), end]])
        with torch.no_grad():
            loss += float(lm.model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        targets += ids.shape[1] - 1
    assert loss / targets == pytest.approx(result.best_loss, rel=1e-4)


def test_generation_stops_at_the_end_token_that_was_learnt(
    trained: tuple[RunResult, list[str]],
) -> None:
    result, texts = trained
    lm = gpt1.load(result.out)
    assert lm.tokenizer.end_of_text_id == lm.tokenizer.vocab_size - 1
    assert lm.model.config.vocab_size == lm.tokenizer.vocab_size
    assert lm.generate("anna sees", max_new_tokens=18) == "anna sees the cat"
    assert lm.generate("the car is", max_new_tokens=18) in texts


def test_the_loss_curve_is_a_picture(trained: tuple[RunResult, list[str]]) -> None:
    result, _ = trained
    assert result.curve is not None
    assert result.curve.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_run_file_holds_every_setting(
    finetune: Finetune, base_model: Path, sentences: Path
) -> None:
    training = TrainingConfig(
        max_steps=1, batch_size=2, seed=3, optimizer=OptimizerConfig(beta1=0.8)
    )
    result = finetune(training=training, prefix="text: ")
    settings = yaml.safe_load((result.out / "run.yaml").read_text(encoding="utf-8"))
    assert settings["model"] == str(base_model)
    assert settings["data"] == str(sentences)
    assert settings["prefix"] == "text: "
    assert settings["seed"] == 3
    assert settings["optimizer"]["beta1"] == 0.8
    names = {"model"} | TextConfig.__dataclass_fields__.keys()
    assert settings.keys() == names | TrainingConfig.__dataclass_fields__.keys()


# What the model reads


def splits(config: TextConfig, tokenizer: Tokenizer, seed: int = 0) -> list[list[list[int]]]:
    """The ids of `encode_splits` as lists."""
    return [[text.tolist() for text in part] for part in encode_splits(config, tokenizer, seed)]


def test_texts_are_prefixed_and_ended(base_model: Path, sentences: Path) -> None:
    tokenizer = Tokenizer.load(base_model)
    tokenizer.add_special_tokens([END])
    config = TextConfig(
        data=str(sentences), prefix="the old ", max_texts=2, valid_data=str(sentences)
    )
    for ids in splits(config, tokenizer):
        assert ids == [
            [*tokenizer.encode("the old anna sees the red house"), tokenizer.token_id(END)],
            [*tokenizer.encode("the old anna sees the old car"), tokenizer.token_id(END)],
        ]


def test_without_an_end_token_texts_and_vocabulary_stay_as_they_are(
    base_model: Path, sentences: Path, finetune: Finetune
) -> None:
    tokenizer = Tokenizer.load(base_model)
    config = TextConfig(data=str(sentences), end_token=None, max_texts=1, valid_fraction=0)
    train, valid = splits(config, tokenizer)
    assert (train, valid) == ([tokenizer.encode("anna sees the red house")], [])
    result = finetune(end_token=None)
    assert Tokenizer.load(result.out).fingerprint == tokenizer.fingerprint
    assert load_model(result.out).config.vocab_size == tokenizer.vocab_size


def test_an_end_token_that_is_known_is_not_added_twice(base_model: Path) -> None:
    model, tokenizer = load_model(base_model), Tokenizer.load(base_model)
    before = tokenizer.vocab_size
    for _ in range(2):
        add_end_token(model, tokenizer, END)
        assert model.config.vocab_size == tokenizer.vocab_size == before + 1


def test_the_texts_held_out_are_a_share_drawn_by_the_seed(
    base_model: Path, sentences: Path
) -> None:
    tokenizer = Tokenizer.load(base_model)
    config = TextConfig(data=str(sentences), valid_fraction=0.25, end_token=None)
    everything = TextConfig(data=str(sentences), valid_fraction=0, end_token=None)
    whole = splits(everything, tokenizer)[0]
    train, valid = splits(config, tokenizer)
    assert (len(train), len(valid)) == (48, 16)
    assert sorted(train + valid) == sorted(whole)
    assert splits(config, tokenizer) == [train, valid]
    assert splits(config, tokenizer, seed=1) != [train, valid]


def test_without_validation_the_last_weights_are_the_result(finetune: Finetune) -> None:
    result = finetune(valid_fraction=0)
    assert result.best_loss is None
    state = load_file(result.out / "state" / "step-00000002" / "state.safetensors")
    kept = load_file(result.out / "model.safetensors")
    state = {name: state[f"model.{name}"] for name in kept}
    torch.testing.assert_close(kept, state, rtol=0, atol=0)


def test_the_base_model_is_not_touched(finetune: Finetune, base_model: Path) -> None:
    before = {path.name: path.read_bytes() for path in base_model.iterdir()}
    finetune()
    assert {path.name: path.read_bytes() for path in base_model.iterdir()} == before


# Resuming


def test_an_interrupted_and_resumed_run_equals_one_that_never_stopped(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    texts = TextConfig(data=str(sentences), valid_fraction=0.2)
    training = TrainingConfig(lr=0.01, max_steps=6, batch_size=4, eval_every_steps=2)
    whole = finetune_lm(base_model, texts, tmp_path / "whole", training)
    out, watch = tmp_path / "cut", Interrupting(3)
    first = finetune_lm(base_model, texts, out, training, watch=watch)
    assert not first.complete
    assert first.step == 3
    second = finetune_lm(base_model, texts, out, training, resume=True)
    assert second.complete
    assert second.best_loss == whole.best_loss
    assert second.first_loss == whole.first_loss
    for name in ("model.safetensors", "state/step-00000006/state.safetensors"):
        assert (out / name).read_bytes() == (whole.out / name).read_bytes()


def test_a_complete_run_can_be_resumed_and_stays_as_it_is(finetune: Finetune) -> None:
    first = finetune()
    again = finetune(resume=True)
    assert again == first


def test_resuming_with_another_rate_is_refused_by_name(finetune: Finetune) -> None:
    finetune()
    training = TrainingConfig(lr=0.02, max_steps=2, batch_size=4, log_every_steps=7)
    with pytest.raises(ConfigError, match=r"other settings: lr was 0\.01 and is 0\.02\. Resume it"):
        finetune(training=training, resume=True)


def test_resuming_without_a_saved_state_is_refused(finetune: Finetune, tmp_path: Path) -> None:
    finetune()
    shutil.rmtree(tmp_path / "out" / "state")
    with pytest.raises(CheckpointError, match="no saved state that is whole; start again without"):
        finetune(resume=True)


# What is refused


def test_a_folder_with_a_run_is_refused(finetune: Finetune) -> None:
    finetune()
    with pytest.raises(ConfigError, match="out holds a run or a model already; continue the run"):
        finetune()


def test_the_model_itself_is_never_the_folder_of_the_run(base_model: Path, sentences: Path) -> None:
    with pytest.raises(ConfigError, match="holds a run or a model already"):
        finetune_lm(base_model, TextConfig(data=str(sentences)), base_model, SHORT)


def test_a_mistake_in_the_data_leaves_the_folder_free(finetune: Finetune, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file or folder"):
        finetune(data=str(tmp_path / "typo.csv"))
    assert finetune().complete


def test_of_too_few_texts_the_last_part_of_each_is_held_out(
    base_model: Path, sentences: Path
) -> None:
    tokenizer = Tokenizer.load(base_model)
    one_text = {"data": str(sentences), "max_texts": 2, "end_token": None}
    whole = splits(TextConfig(**one_text, valid_fraction=0), tokenizer)[0]
    train, valid = splits(TextConfig(**one_text, valid_fraction=0.2), tokenizer)
    assert [first + last for first, last in zip(train, valid, strict=True)] == whole
    assert [len(text) for text in train] == [round(0.8 * len(text)) for text in whole]


def test_validation_that_cannot_be_is_said(
    finetune: Finetune, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "short.txt").write_text("anna sees the red house", encoding="utf-8")
    with caplog.at_level("INFO", logger="gpt1"):
        result = finetune(data=str(tmp_path / "short.txt"), valid_fraction=0.01)
    assert result.first_loss is None
    assert "no validation" in caplog.text


def test_data_without_text_is_refused(finetune: Finetune, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" ", encoding="utf-8")
    message = re.escape("empty.txt leaves no text to train on; give more, or longer texts")
    with pytest.raises(DataError, match=message):
        finetune(data=str(tmp_path / "empty.txt"), valid_fraction=0)


def test_a_sequence_longer_than_the_model_takes_is_refused(finetune: Finetune) -> None:
    training = TrainingConfig(seq_len=25, max_steps=1)
    with pytest.raises(ConfigError, match="seq_len is 25 but the model takes 24 positions at most"):
        finetune(training=training)


def test_a_device_that_is_not_there_is_refused(finetune: Finetune) -> None:
    with pytest.raises(ConfigError, match="device 'nowhere' cannot be used here"):
        finetune(training=TrainingConfig(device="nowhere", max_steps=1))
