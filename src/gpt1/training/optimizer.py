"""The optimizers: AdamW with decay on matrices only, the authors' own Adam, and Muon.

AdamW follows GPT-1 section 4.1 (decoupled decay of 0.01 on everything but biases and gains);
`OpenAIAdam` is what the paper's authors released. Muon (Jordan et al., 2024) replaces the update of
a matrix of the blocks by the nearest orthogonal matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpt1.backbone import Backbone
from gpt1.config import OptimizerConfig
from gpt1.errors import ConfigError
from gpt1.fused import layers
from gpt1.model import GPT
from gpt1.native import gradients
from gpt1.task_model import TaskModel
from gpt1.training.distributed import like, sharded, whole

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that pushes all singular values towards 1."""


def build_optimizers(
    model: Backbone | TaskModel,
    config: OptimizerConfig,
    lr: float,
    *,
    matrix_dtype: torch.dtype = torch.float32,
) -> list[torch.optim.Optimizer]:
    """Optimizers that together own every parameter of the model once.

    Args:
        model: What is trained.
        config: Which optimizer, with its settings.
        lr: Peak learning rate of either Adam.
        matrix_dtype: Arithmetic of Muon's orthogonalisation.

    Returns:
        As ``config.name`` asks, AdamW, or `OpenAIAdam`, or Muon and AdamW. Each parameter group
        keeps its peak rate under ``"peak_lr"``.

    Raises:
        ConfigError: If Muon is asked for and the model has no blocks.
    """
    hidden = _matrices_of_blocks(model) if config.name == "muon" else []
    taken = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    adam = OpenAIAdam if config.name == "openai" else partial(torch.optim.AdamW, fused=True)
    betas = (config.beta1, config.beta2)
    optimizers: list[torch.optim.Optimizer] = [adam(groups, lr=lr, betas=betas, eps=config.epsilon)]
    if hidden:
        optimizers.insert(
            0, Muon(hidden, config.muon_lr, config.muon_momentum, config.weight_decay, matrix_dtype)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def clip(model: nn.Module, limit: float) -> float:
    """Scale gradients down to a global norm.

    Args:
        model: With gradients.
        limit: The largest norm, or infinity.

    Returns:
        The norm before, which may not be finite.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    if any(map(sharded, grads)) or not layers.runs_here(*grads):
        return float(whole(nn.utils.clip_grad_norm_(model.parameters(), limit)))
    norm = math.sqrt(sum(map(gradients.sum_of_squares, grads)))
    if norm > limit:
        torch._foreach_mul_(grads, limit / norm)
    return norm


def set_aside(model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Make gradients, of zeros, and the moments of AdamW, so that they lie together in memory.

    Made when they are first needed, they lie between activations, which then leave holes behind
    that the next ones do not fit into: a third of what a run needs.

    Args:
        model: That is trained; each of its parameters takes part in every update.
        optimizers: From `build_optimizers`; an optimizer that has moments keeps them.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups if isinstance(optimizer, torch.optim.AdamW) else ():
            for p in group["params"]:
                if not optimizer.state[p]:
                    moments = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
                    optimizer.state[p] = {"step": torch.zeros((), device=p.device), **moments}
    for p in model.parameters():
        if p.requires_grad:
            p.grad = torch.zeros_like(p)


def _matrices_of_blocks(model: Backbone | TaskModel) -> list[Tensor]:
    backbone = model.backbone if isinstance(model, TaskModel) else model
    if not isinstance(backbone, GPT):
        # Orthogonalising the gates of 2,048 units would take longer than the rest of an update.
        raise ConfigError(
            "optimizer.name is 'muon' but that is for the blocks of a Transformer; an LSTM is "
            "trained with 'adamw'"
        )
    return [p for p in backbone.h.parameters() if p.dim() == 2]


class OpenAIAdam(torch.optim.Optimizer):
    """Adam as GPT-1's authors released it.

    Epsilon is added to the root of the *uncorrected* second moment, and the decay is multiplied by
    the rate *with* the corrections of both moments; in AdamW it is the other way round.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate.
        betas: Decays of the running means of gradients and of their squares.
        eps: Added to the root of the second moment.
        weight_decay: Of the parameters, as an update subtracts it.

    Source: ``opt.py`` of the code released with GPT-1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            # Kept as a tensor: states are saved as tensors.
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        step, (beta1, beta2) = int(state["step"]), group["betas"]
        rate = group["lr"] * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        update = mean / (square.sqrt() + group["eps"])
        p.sub_(update.add_(p, alpha=group["weight_decay"]), alpha=rate)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised by Newton-Schulz iteration.

    The fused query-key-value matrix is taken as its three square parts.

    Args:
        params: Matrices, stored input-major.
        lr: Learning rate.
        momentum: Of the running mean of gradients, applied as Nesterov's.
        weight_decay: Decoupled.
        dtype: Arithmetic of the iteration.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        mean = state["momentum"].lerp_(grad, 1 - group["momentum"])
        update = whole(grad.lerp(mean, group["momentum"]))
        rows, columns = p.shape
        parts = columns // rows if columns == 3 * rows else 1
        square = update.view(rows, parts, -1).transpose(0, 1)  # (parts, rows, columns / parts)
        direction = orthogonalize(square.to(self.dtype)).transpose(0, 1).reshape(p.shape)
        scale = max(1.0, columns / parts / rows) ** 0.5
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(like(direction.to(p.dtype), p), alpha=-group["lr"] * scale)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Each matrix with its singular values moved to about 1 (between 0.7 and 1.2).

    Args:
        matrices: ``(..., rows, columns)``.
        steps: Iterations.

    Returns:
        Of the same shape and dtype.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
