"""Movement, memory and utilization against sums written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gpt1.config import TrainingConfig
from gpt1.flops import matrix_rate, training_flops_per_token
from gpt1.model import GPT
from gpt1.training.measuring import Movement, Utilization, peak_memory_bytes

CPU = torch.device("cpu")


def flat(model: GPT) -> np.ndarray:
    matrices = [p.detach().double().flatten() for p in model.parameters() if p.dim() > 1]
    return torch.cat(matrices).numpy()


def test_the_ratio_is_that_of_the_norms_of_all_matrices(new_model: Callable[..., GPT]) -> None:
    model = new_model()
    before, movement = flat(model), Movement(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    expected = np.linalg.norm(flat(model) - before) / np.linalg.norm(before)
    assert movement.ratio() == pytest.approx(expected, rel=1e-5)


def test_norms_and_biases_do_not_count_as_movement(new_model: Callable[..., GPT]) -> None:
    model = new_model()
    movement = Movement(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 1
    assert movement.ratio() == 0


def test_a_model_of_zeros_has_a_ratio(new_model: Callable[..., GPT]) -> None:
    model = new_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert Movement(model).ratio() == 0


def test_utilization_is_flops_done_over_flops_possible(new_model: Callable[..., GPT]) -> None:
    config = new_model().config
    use = Utilization(config, TrainingConfig(seq_len=8), CPU, world_size=2)
    expected = 5000 * training_flops_per_token(config, 8) / matrix_rate(CPU, torch.float32) / 2
    assert use.at(5000) == pytest.approx(expected)


def test_peak_memory_grows_with_what_is_used() -> None:
    before = peak_memory_bytes(CPU)
    if before is None:
        pytest.skip("this system does not say how much memory a process used")
    held = np.ones(before // 8 + 2**24)  # more than there was at any time
    after = peak_memory_bytes(CPU)
    assert after is not None
    assert after > before
    assert len(held)
