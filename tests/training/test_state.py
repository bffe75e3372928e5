"""Saved states: all of a run comes back, and a broken one is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from gpt1.config import OptimizerConfig
from gpt1.errors import CheckpointError
from gpt1.model import GPT
from gpt1.training.optimizer import build_optimizers
from gpt1.training.state import LoopState, load_state, save_state

Optimizers = list[torch.optim.Optimizer]
STATE = LoopState(
    step=7, tokens=700, elapsed_s=1.5, first_loss=3.0, best_loss=2.5, best_step=4, stale=1
)


def update(model: GPT, optimizers: Optimizers, seed: int) -> None:
    """One update with random gradients."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    for optimizer in optimizers:
        optimizer.step()


@pytest.fixture(params=["adamw", "muon"])
def trained(
    request: pytest.FixtureRequest, new_model: Callable[..., GPT]
) -> Callable[[int], tuple[GPT, Optimizers]]:
    """Makes a model and its optimizers after some updates."""

    def make(updates: int) -> tuple[GPT, Optimizers]:
        model = new_model(seed=updates)
        optimizers = build_optimizers(model, OptimizerConfig(name=request.param), lr=0.1)
        for seed in range(updates):
            update(model, optimizers, seed)
        return model, optimizers

    return make


Trained = Callable[[int], tuple[GPT, Optimizers]]


def test_a_state_comes_back_to_the_bit_and_the_next_update_is_the_same(
    tmp_path: Path, trained: Trained
) -> None:
    model, optimizers = trained(3)
    save_state(tmp_path / "state", model, optimizers, STATE)
    other, others = trained(0)
    assert asdict(load_state(tmp_path / "state", other, others)) == asdict(STATE)
    for seed in (10, 11):
        for name, weight in model.state_dict().items():
            assert torch.equal(other.get_parameter(name), weight), name
        update(model, optimizers, seed)
        update(other, others, seed)


def test_loading_takes_the_place_of_moments_that_are_there(
    tmp_path: Path, trained: Trained
) -> None:
    model, optimizers = trained(3)
    save_state(tmp_path, model, optimizers, STATE)
    other, others = trained(2)
    load_state(tmp_path, other, others)
    update(model, optimizers, 10)
    update(other, others, 10)
    assert torch.equal(model.h[0].mlp.c_fc.weight, other.h[0].mlp.c_fc.weight)


def test_a_state_before_the_first_update_can_be_saved(tmp_path: Path, trained: Trained) -> None:
    save_state(tmp_path, *trained(0), LoopState())
    assert load_state(tmp_path, *trained(0)) == LoopState()


def test_only_the_last_state_is_kept(tmp_path: Path, trained: Trained) -> None:
    for step in (1, 2, 10):
        save_state(tmp_path, *trained(1), LoopState(step=step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000010"]
    assert load_state(tmp_path, *trained(0)).step == 10


def test_a_save_that_fails_leaves_the_state_before(tmp_path: Path, trained: Trained) -> None:
    model, optimizers = trained(1)
    save_state(tmp_path, model, optimizers, LoopState(step=1))
    broken = LoopState(step=2, best_loss=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="JSON"):
        save_state(tmp_path, model, optimizers, broken)
    assert load_state(tmp_path, *trained(0)).step == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]


def test_without_a_state_there_is_nothing_to_resume(tmp_path: Path, trained: Trained) -> None:
    problem = f"nothing to resume: {tmp_path} holds no saved state; start again without --resume"
    with pytest.raises(CheckpointError, match=re.escape(problem)):
        load_state(tmp_path, *trained(0))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "loop.json"])
@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_damaged_state_is_refused(
    tmp_path: Path, trained: Trained, name: str, damage: str
) -> None:
    save_state(tmp_path, *trained(1), STATE)
    path = tmp_path / "step-00000007" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut short":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=re.escape(f"cannot resume from {path.parent}: ")):
        load_state(tmp_path, *trained(0))


def test_the_state_of_another_model_is_refused(
    tmp_path: Path, trained: Trained, new_model: Callable[..., GPT]
) -> None:
    save_state(tmp_path, *trained(1), STATE)
    other = new_model(n_embd=32)
    with pytest.raises(CheckpointError, match=r"(?s)cannot resume from .*size mismatch"):
        load_state(tmp_path, other, build_optimizers(other, OptimizerConfig(), lr=0.1))
