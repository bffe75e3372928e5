"""The memory a plan promises, beside what PyTorch's profiler sees."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gpt1.config import TextConfig, TrainingConfig
from gpt1.errors import ConfigError
from gpt1.model import GPT
from gpt1.native.library import kernels
from gpt1.training.finetune import plan_finetune_lm
from gpt1.training.plan import activation_bytes, kept_bytes

IDS = torch.arange(64).reshape(4, 16) % 40
TRAINING = TrainingConfig(batch_size=4)


def loss_of(model: GPT) -> Callable[[int], Tensor]:
    def loss(sequences: int) -> Tensor:
        output: Tensor = model(IDS[:sequences], labels=IDS[:sequences]).loss
        return output

    return loss


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_what_a_forward_pass_keeps_is_what_the_profiler_sees_stay(
    new_model: Callable[..., GPT], dropout: float
) -> None:
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), dropout)
    model = new_model(n_embd=64, **rates).train()
    loss = loss_of(model)
    counted = kept_bytes(model, lambda: loss(4))
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        alive = loss(4)
    stayed = sum(event.self_cpu_memory_usage for event in seen.events() or [])
    del alive
    assert counted == pytest.approx(stayed, rel=0.02)


def test_a_micro_batch_is_told_from_one_and_two_sequences(new_model: Callable[..., GPT]) -> None:
    model = new_model(n_embd=64)
    loss = loss_of(model)
    told = activation_bytes(model, TRAINING, loss)
    # Of a single sequence, PyTorch keeps views where it keeps copies of two.
    assert told == pytest.approx(kept_bytes(model, lambda: loss(4)), rel=0.08)
    half = activation_bytes(model, replace(TRAINING, micro_batch_size=2), loss)
    assert half == kept_bytes(model, lambda: loss(2))


def test_checkpointing_and_bfloat16_keep_less(
    new_model: Callable[..., GPT], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT1_KERNELS", "none")  # which keep less than the halves, but of float32
    model = new_model(n_embd=64)
    settings = [{}, {"precision": "bf16"}, {"activation_checkpointing": True}]
    plain, halved, recomputed = (
        activation_bytes(model, replace(TRAINING, **changes), loss_of(model))  # type: ignore[arg-type]
        for changes in settings
    )
    assert recomputed < halved < plain


@pytest.mark.skipif(kernels() is None, reason="the C++ library was not built")
def test_the_kernels_keep_less_than_pytorch(
    new_model: Callable[..., GPT], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model(n_embd=64)
    kept = []
    for computer in ("none", ""):
        monkeypatch.setenv("GPT1_KERNELS", computer)
        kept.append(activation_bytes(model, TRAINING, loss_of(model)))
    assert kept[1] < 0.75 * kept[0]


def test_memory_is_of_the_model_its_optimizer_and_a_micro_batch(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    texts = TextConfig(data=str(sentences))

    def memory(**changes: int) -> tuple[int, int]:
        training = replace(TRAINING, **changes)  # type: ignore[arg-type]
        plan = plan_finetune_lm(base_model, texts, tmp_path / "out", training)
        assert plan.memory_bytes is not None
        return plan.memory_bytes, plan.parameters

    small, parameters = memory(micro_batch_size=1)
    assert small > 16 * parameters  # weights, gradients and two moments in float32
    assert memory(micro_batch_size=1, batch_size=8) == (small, parameters)
    assert memory(micro_batch_size=4)[0] > small


def test_many_processes_make_no_plan(
    base_model: Path, sentences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--dry-run runs in one process but there are 2"):
        plan_finetune_lm(base_model, TextConfig(data=str(sentences)), tmp_path / "out", TRAINING)
