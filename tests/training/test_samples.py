"""Samples of a run: what `gpt1 generate` would say, on schedule, the same after a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt1
from gpt1.config import TextConfig, TrainingConfig
from gpt1.errors import CheckpointError
from gpt1.language_model import LanguageModel
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.training.finetune import finetune_lm
from gpt1.training.samples import MAX_NEW_TOKENS, sampler, write_samples
from gpt1.training.tracking import LogWatcher, read_metrics
from lively import TEXT, lively_model, small_tokenizer

TRAINING = TrainingConfig(
    lr=3e-3, max_steps=6, batch_size=4, save_every_steps=1, sample_every_steps=2,
    sample_prompts=("", "anna sees"),
)  # fmt: skip


@pytest.mark.parametrize("prompt", ["", "the lazy dog"])
def test_samples_are_what_generate_says_with_these_settings(prompt: str) -> None:
    tokenizer = small_tokenizer()
    model = lively_model(tokenizer.vocab_size, n_positions=80)
    expected = LanguageModel(model, tokenizer).generate(
        prompt, max_new_tokens=MAX_NEW_TOKENS, temperature=0.8, top_p=0.95, seed=5, n=2
    )
    samples = write_samples(model, tokenizer, [prompt], seed=5, n=2)
    assert [sample.text for sample in samples] == expected
    assert {sample.prompt for sample in samples} == {prompt}


def test_an_empty_prompt_has_a_neutral_start_without_an_end_of_text_token() -> None:
    tokenizer = small_tokenizer(end_of_text=False)
    model = lively_model(tokenizer.vocab_size, n_positions=80)
    [sample] = write_samples(model, tokenizer, [""], seed=0)
    assert sample.text.startswith("the")


def test_sampling_leaves_a_model_in_training_and_its_random_numbers_alone() -> None:
    tokenizer = small_tokenizer()
    model = lively_model(tokenizer.vocab_size).train()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    sample = sampler(model, tokenizer, [TEXT[:9]], TRAINING)
    assert sample is not None
    first = sample()
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sample() == first


def test_an_lstm_cannot_write_samples(base_lstm: Path) -> None:
    model = gpt1.load(base_lstm)
    assert isinstance(model.model, LSTM)
    with pytest.raises(CheckpointError, match="sample_every_steps needs a Transformer"):
        sampler(model.model, model.tokenizer, [""], TRAINING)


class StopAfter(LogWatcher):
    """Interrupts a run as Ctrl-C would, by its own signal."""

    def __init__(self, step: int) -> None:
        self.step = step

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        import signal

        if step == self.step:
            signal.raise_signal(signal.SIGINT)


def tune(model: Path, data: Path, out: Path, **arguments: Any) -> list[dict[str, Any]]:
    texts = TextConfig(data=str(data), text_column="text", prefix="SAY: ")
    finetune_lm(model, texts, out, TRAINING, **arguments)
    return read_metrics(out / "samples.jsonl")


def test_samples_come_on_schedule_and_a_resumed_run_has_the_same(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    whole = tune(base_model, sentences, tmp_path / "whole")
    tune(base_model, sentences, tmp_path / "cut", watch=StopAfter(3))
    cut = tune(base_model, sentences, tmp_path / "cut", resume=True)
    assert [row["step"] for row in whole] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert [row["prompt"] for row in whole[:2]] == ["SAY:", "SAY: anna sees"]
    assert len({row["text"] for row in whole}) > 2
    assert cut == whole


def test_a_run_without_a_schedule_writes_no_samples(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    texts = TextConfig(data=str(sentences), text_column="text")
    training = replace(TRAINING, max_steps=1, sample_every_steps=0)
    finetune_lm(base_model, texts, tmp_path / "run", training)
    assert not (tmp_path / "run" / "samples.jsonl").exists()


def test_the_last_samples_are_those_of_the_model_at_the_end(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    # Without validation the last weights are kept.
    texts = TextConfig(data=str(sentences), text_column="text", prefix="SAY: ", valid_fraction=0.0)
    finetune_lm(base_model, texts, folder, TRAINING)
    lm = gpt1.load(folder)
    assert isinstance(lm.model, GPT)
    [expected] = write_samples(lm.model, lm.tokenizer, ["SAY:"], seed=TRAINING.seed)
    assert read_metrics(folder / "samples.jsonl")[-2]["text"] == expected.text
