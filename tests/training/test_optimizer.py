"""AdamW and Muon against the same formulas in NumPy and double precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.config import LSTMConfig, OptimizerConfig, ScheduleConfig, TrainingConfig
from gpt1.data.batches import Batch
from gpt1.errors import ConfigError
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.training.loop import Job, Trainer
from gpt1.training.optimizer import NEWTON_SCHULZ, Muon, build_optimizers, orthogonalize

Arrays = dict[str, NDArray[np.float64]]
ADAMW = OptimizerConfig(weight_decay=0.1, beta1=0.8, beta2=0.9, epsilon=1e-6)
MUON = OptimizerConfig(name="muon", weight_decay=0.1, muon_lr=0.03, muon_momentum=0.9)


def arrays(tensors: dict[str, Tensor]) -> Arrays:
    return {name: tensor.detach().double().numpy().copy() for name, tensor in tensors.items()}


def gradients(model: GPT, step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return {name: torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}


class AdamWOracle:
    """Loshchilov and Hutter (2019), algorithm 2, on one array."""

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config
        self.m: Any = 0.0
        self.v: Any = 0.0
        self.t = 0

    def update(
        self, p: NDArray[np.float64], g: NDArray[np.float64], lr: float
    ) -> NDArray[np.float64]:
        c, self.t = self.config, self.t + 1
        self.m = c.beta1 * self.m + (1 - c.beta1) * g
        self.v = c.beta2 * self.v + (1 - c.beta2) * g**2
        m_hat, v_hat = self.m / (1 - c.beta1**self.t), self.v / (1 - c.beta2**self.t)
        decay = c.weight_decay if p.ndim == 2 else 0.0
        return p - lr * (m_hat / (np.sqrt(v_hat) + c.epsilon) + decay * p)


class OpenAIOracle(AdamWOracle):
    """``adam`` of ``opt.py`` in GPT-1's released code, on one array."""

    def update(
        self, p: NDArray[np.float64], g: NDArray[np.float64], lr: float
    ) -> NDArray[np.float64]:
        c, self.t = self.config, self.t + 1
        lrt = lr * np.sqrt(1 - c.beta2**self.t) / (1 - c.beta1**self.t)
        self.m = c.beta1 * self.m + (1 - c.beta1) * g
        self.v = c.beta2 * self.v + (1 - c.beta2) * g * g
        l2 = c.weight_decay if p.ndim > 1 else 0.0
        return p - lrt * (self.m / (np.sqrt(self.v) + c.epsilon) + l2 * p)


class MuonOracle:
    """Nesterov momentum, five Newton-Schulz steps, scaled by the root of the aspect ratio."""

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config
        self.mean: Any = 0.0

    def update(
        self, p: NDArray[np.float64], g: NDArray[np.float64], lr: float
    ) -> NDArray[np.float64]:
        momentum = self.config.muon_momentum
        self.mean = momentum * self.mean + (1 - momentum) * g
        direction = momentum * self.mean + (1 - momentum) * g
        rows, columns = p.shape
        parts = 3 if columns == 3 * rows else 1
        squares = np.split(direction, parts, axis=1)
        step = np.concatenate([newton_schulz(square) for square in squares], axis=1)
        scale = np.sqrt(max(1.0, columns / parts / rows))
        return p * (1 - lr * self.config.weight_decay) - lr * scale * step


def newton_schulz(x: NDArray[np.float64]) -> NDArray[np.float64]:
    if x.shape[0] > x.shape[1]:
        return newton_schulz(x.T).T
    a, b, c = NEWTON_SCHULZ
    x = x / np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def run(model: GPT, config: OptimizerConfig, lr: float, steps: int = 4) -> None:
    """Updates with the gradients of `gradients`, at a constant rate."""
    optimizers = build_optimizers(model, config, lr)
    for step in range(steps):
        for name, gradient in gradients(model, step).items():
            model.get_parameter(name).grad = gradient
        for optimizer in optimizers:
            optimizer.step()


def assert_near(model: GPT, expected: Arrays, tolerance: float) -> None:
    for name, parameter in model.state_dict().items():
        np.testing.assert_allclose(
            parameter.double().numpy(), expected[name], rtol=0, atol=tolerance, err_msg=name
        )


def expected_after(
    model: GPT, oracles: dict[str, Any], rates: dict[str, float], steps: int = 4
) -> Arrays:
    weights = arrays(model.state_dict())
    for step in range(steps):
        for name, g in arrays(gradients(model, step)).items():
            weights[name] = oracles[name].update(weights[name], g, rates[name])
    return weights


# Who is updated by what


@pytest.mark.parametrize("config", [ADAMW, MUON])
def test_every_parameter_has_one_optimizer_and_matrices_alone_decay(
    new_model: Callable[..., GPT], config: OptimizerConfig
) -> None:
    model = new_model()
    names = {id(p): name for name, p in model.named_parameters()}
    optimizers = build_optimizers(model, config, lr=0.5)
    owned = []
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            assert group["peak_lr"] == (config.muon_lr if isinstance(optimizer, Muon) else 0.5)
            for p in group["params"]:
                owned.append(names[id(p)])
                assert group["weight_decay"] == (config.weight_decay if p.dim() == 2 else 0.0)
    assert sorted(owned) == sorted(names.values())


def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else(
    new_model: Callable[..., GPT],
) -> None:
    model = new_model()
    muon, adamw = build_optimizers(model, MUON, lr=0.5)
    assert isinstance(muon, Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    matrices = {name for name, p in model.named_parameters() if id(p) in taken}
    assert matrices == {
        f"h.{block}.{layer}.weight"
        for block in (0, 1)
        for layer in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }


def test_an_lstm_has_adamw_and_no_muon() -> None:
    model = LSTM(LSTMConfig(vocab_size=9, n_positions=4, n_embd=4, n_units=5))
    [adamw] = build_optimizers(model, ADAMW, lr=0.5)
    assert sum(len(group["params"]) for group in adamw.param_groups) == len([*model.parameters()])
    with pytest.raises(ConfigError, match="name is 'muon' but that is for the blocks of a Trans"):
        build_optimizers(model, MUON, lr=0.5)


# The updates


def test_adamw_is_the_published_algorithm(new_model: Callable[..., GPT]) -> None:
    model = new_model(initializer_range=0.5)
    names = [name for name, _ in model.named_parameters()]
    expected = expected_after(
        model, {name: AdamWOracle(ADAMW) for name in names}, dict.fromkeys(names, 0.01)
    )
    run(model, ADAMW, lr=0.01)
    assert_near(model, expected, 1e-6)


def test_openai_is_the_released_algorithm(new_model: Callable[..., GPT]) -> None:
    config = replace(ADAMW, name="openai", epsilon=0.05)
    model = new_model(initializer_range=0.5)
    names = [name for name, _ in model.named_parameters()]
    rates = dict.fromkeys(names, 0.01)
    expected = expected_after(model, {name: OpenAIOracle(config) for name in names}, rates)
    adamw = expected_after(model, {name: AdamWOracle(config) for name in names}, rates)
    far = max(float(np.abs(expected[name] - adamw[name]).max()) for name in names)
    assert far > 1e-3, "here the two differ in epsilon and in decay"
    run(model, config, lr=0.01)
    assert_near(model, expected, 1e-6)


def test_the_first_update_of_the_released_code_has_rate_0(
    new_model: Callable[..., GPT], tmp_path: Path
) -> None:
    model = new_model(initializer_range=0.5)
    config = TrainingConfig(
        lr=0.01,
        max_steps=4,
        batch_size=1,
        log_every_steps=1,
        optimizer=replace(ADAMW, name="openai", clip_norm=1.0),
        schedule=ScheduleConfig(name="openai", warmup_fraction=0.5),
    )
    objective = SumOfProducts(model)
    weights, g = arrays(model.state_dict()), arrays(objective.g)
    norm = np.sqrt(sum((array**2).sum() for array in g.values()))
    job = Job(train=Scales(), valid=None, objective=objective, out=tmp_path, keep=lambda: None)
    Trainer(model, config, job).fit()
    oracles = {name: OpenAIOracle(config.optimizer) for name in g}
    # x / 0.5 while x <= 0.5, else 1, times 1 - x, for x = 0, 1/4, 2/4 and 3/4
    for factor in (0.0, 0.375, 0.5, 0.25):
        for name, oracle in oracles.items():
            weights[name] = oracle.update(weights[name], g[name] / norm, 0.01 * factor)
    assert_near(model, weights, 1e-5)


def test_muon_is_its_published_algorithm_with_three_squares_of_the_fused_projection(
    new_model: Callable[..., GPT],
) -> None:
    model = new_model(initializer_range=0.5)
    hidden = {name for name, p in model.named_parameters() if name[:2] == "h." and p.dim() == 2}
    names = [name for name, _ in model.named_parameters()]
    oracles = {name: (MuonOracle if name in hidden else AdamWOracle)(MUON) for name in names}
    rates = {name: MUON.muon_lr if name in hidden else 0.01 for name in names}
    expected = expected_after(model, oracles, rates)
    run(model, MUON, lr=0.01)
    assert_near(model, expected, 1e-5)


class SumOfProducts:
    """Mean over the rows of a batch of ``id x <G, weights>``: its gradient is mean id times G."""

    unit = "rows"

    def __init__(self, model: GPT) -> None:
        self.g = gradients(model, step=0)

    def count(self, batch: Batch) -> int:
        return len(batch.input_ids)

    def loss(self, model: GPT, batch: Batch) -> Tensor:
        products = [(self.g[name] * p).sum() for name, p in model.named_parameters()]
        return torch.stack(products).sum() * batch.input_ids[:, 0].float().mean()


class Scales:
    """One sequence: the numbers by which `SumOfProducts` scales its gradient."""

    def __len__(self) -> int:
        return 3

    def rows(self, indices: NDArray[np.int64]) -> Batch:
        ids = torch.tensor([1, 100, 10_000])[indices][:, None]
        return Batch(ids, ids, None)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 100_000.0])
def test_a_run_clips_the_global_norm_and_follows_the_schedule(
    new_model: Callable[..., GPT], tmp_path: Path, clip_norm: float
) -> None:
    model = new_model(initializer_range=0.5)
    optimizer = OptimizerConfig(weight_decay=0.1, clip_norm=clip_norm)
    schedule = ScheduleConfig(name="linear", warmup_steps=2, final_fraction=0.5)
    config = TrainingConfig(
        lr=0.01,
        max_steps=6,
        batch_size=1,
        log_every_steps=1,
        optimizer=optimizer,
        schedule=schedule,
    )
    objective = SumOfProducts(model)
    weights, g = arrays(model.state_dict()), arrays(objective.g)
    norm = np.sqrt(sum((array**2).sum() for array in g.values()))
    job = Job(train=Scales(), valid=None, objective=objective, out=tmp_path, keep=lambda: None)
    trainer = Trainer(model, config, job)
    rows = trainer.job.train.rows
    scales = [int(rows(trainer._indices(step)).input_ids) for step in range(1, 7)]
    trainer.fit()

    oracles = {name: AdamWOracle(optimizer) for name in g}
    for scale, factor in zip(scales, [0.5, 1.0, 1.0, 0.875, 0.75, 0.625], strict=True):
        clip = min(1.0, clip_norm / (scale * norm)) if clip_norm else 1.0
        for name, oracle in oracles.items():
            weights[name] = oracle.update(weights[name], scale * clip * g[name], 0.01 * factor)
    assert sorted(scales) == [1, 1, 100, 100, 10_000, 10_000]
    assert_near(model, weights, 1e-5)
    assert all(p.grad is None for p in model.parameters())  # none is kept when the run is over


# Orthogonalisation


@pytest.mark.parametrize("shape", [(16, 16), (3, 16, 16), (16, 64), (64, 16)])
def test_orthogonalised_matrices_keep_their_directions_and_have_singular_values_near_1(
    shape: tuple[int, ...],
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
    result = orthogonalize(matrices)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ result @ vh.mT  # diagonal: the singular vectors stay
    values = inner.diagonal(dim1=-2, dim2=-1)
    assert result.shape == matrices.shape
    assert 0.6 < float(values.min()) < float(values.max()) < 1.3
    torch.testing.assert_close(inner, torch.diag_embed(values), rtol=0, atol=1e-3)


def test_a_batch_of_matrices_is_orthogonalised_one_by_one() -> None:
    matrices = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1))
    one_by_one = torch.stack([orthogonalize(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices), one_by_one, rtol=0, atol=1e-5)


def test_a_gradient_of_zero_orthogonalises_to_zero() -> None:
    assert not orthogonalize(torch.zeros(4, 8)).any()


def test_parameters_without_gradient_stay(new_model: Callable[..., GPT]) -> None:
    model = new_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for optimizer in build_optimizers(model, MUON, lr=0.1):
        optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
