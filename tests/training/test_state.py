"""Saved states: all of a run comes back, and a broken one is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.test_atomic import largest_file

from gpt1.config import OptimizerConfig, StatesConfig
from gpt1.errors import CheckpointError
from gpt1.model import GPT
from gpt1.training import state as states
from gpt1.training.optimizer import build_optimizers
from gpt1.training.state import LoopState, load_state

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


def save_state(
    folder: Path, model: GPT, optimizers: Optimizers, state: LoopState, **kept: Any
) -> None:
    states.save_state(folder, model, optimizers, state, StatesConfig(**kept))


@pytest.fixture(params=["adamw", "openai", "muon"])
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


@pytest.mark.parametrize(
    ("kept", "steps"),
    [
        ({"keep_last": 1}, [12]),
        ({}, [10, 12]),
        ({"keep_last": 1, "keep_every_steps": 4}, [4, 8, 12]),
        ({"keep_last": 1, "keep_best": True}, [6, 12]),
        ({"keep_last": 3, "keep_every_steps": 6, "keep_best": True}, [6, 8, 10, 12]),
    ],
)
def test_states_are_kept_by_the_policy(
    tmp_path: Path, trained: Trained, kept: dict[str, Any], steps: list[int]
) -> None:
    model, optimizers = trained(1)
    for step in range(0, 13, 2):
        save_state(tmp_path, model, optimizers, LoopState(step=step, best_step=6), **kept)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [
        f"step-{step:08d}" for step in steps
    ]
    assert load_state(tmp_path, *trained(0)).step == 12


def test_a_save_that_fails_leaves_the_state_before(tmp_path: Path, trained: Trained) -> None:
    model, optimizers = trained(1)
    save_state(tmp_path, model, optimizers, LoopState(step=1))
    broken = LoopState(step=2, best_loss=object())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="JSON"):
        save_state(tmp_path, model, optimizers, broken)
    assert load_state(tmp_path, *trained(0)).step == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]


def test_on_a_full_disk_the_state_before_stays_and_is_used(
    tmp_path: Path, trained: Trained
) -> None:
    save_state(tmp_path, *trained(1), LoopState(step=1))
    with (
        largest_file(2_000),
        pytest.raises(CheckpointError, match="what was there before is unchanged"),
    ):
        save_state(tmp_path, *trained(2), LoopState(step=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000001"]
    assert load_state(tmp_path, *trained(0)).step == 1


def test_without_a_state_there_is_nothing_to_resume(tmp_path: Path, trained: Trained) -> None:
    problem = (
        f"nothing to resume: {tmp_path} holds no saved state that is whole; start again without"
    )
    with pytest.raises(CheckpointError, match=re.escape(problem)):
        load_state(tmp_path, *trained(0))


FILES = ["state.safetensors", "loop.json", "checksums.json"]
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "cut short": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:-20] + bytes([content[-20] ^ 1]) + content[-19:],
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_in_place_of_a_damaged_state_the_one_before_is_used_and_it_is_said(
    tmp_path: Path, trained: Trained, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = trained(1)
    save_state(tmp_path, *first, LoopState(step=7))
    save_state(tmp_path, *trained(2), LoopState(step=8))
    path = tmp_path / "step-00000008" / name
    changed = DAMAGES[damage](path.read_bytes())
    path.unlink() if changed is None else path.write_bytes(changed)
    other, others = trained(0)
    assert load_state(tmp_path, other, others).step == 7
    assert f"the saved state {path.parent} is damaged: " in caplog.text
    for key, weight in first[0].state_dict().items():
        assert torch.equal(other.get_parameter(key), weight), key


def test_where_all_states_are_damaged_there_is_nothing_to_resume(
    tmp_path: Path, trained: Trained
) -> None:
    save_state(tmp_path, *trained(1), STATE)
    (tmp_path / "step-00000007" / "state.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no saved state that is whole"):
        load_state(tmp_path, *trained(0))


def test_what_a_killed_run_had_half_written_is_deleted(tmp_path: Path, trained: Trained) -> None:
    save_state(tmp_path / "state", *trained(1), STATE)
    leftovers = [tmp_path / ".saving-1", tmp_path / "state" / ".saving-2"]
    for leftover in leftovers:
        leftover.mkdir()
    load_state(tmp_path / "state", *trained(0))
    assert not any(leftover.exists() for leftover in leftovers)


def test_the_state_of_another_model_is_refused(
    tmp_path: Path, trained: Trained, new_model: Callable[..., GPT]
) -> None:
    save_state(tmp_path, *trained(1), STATE)
    other = new_model(n_embd=32)
    with pytest.raises(CheckpointError, match=r"(?s)cannot resume from .*size mismatch"):
        load_state(tmp_path, other, build_optimizers(other, OptimizerConfig(), lr=0.1))
