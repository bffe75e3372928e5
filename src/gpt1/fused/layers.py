"""Sums with layer norm, linear and feed-forward layers, with few passes over memory on a CPU.

Shapes: ``N`` tokens, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gpt1.fused.attention import draw_seed
from gpt1.native import gradients
from gpt1.native.gradients import Dropout
from gpt1.native.products import product


class Workspace:
    """What a training loop on a CPU keeps from one pass to the next.

    While it is `used`, a product that is the gradient of a matrix is added to its ``grad``, where
    there is one, so that it is not written, read and added afterwards: hooks on the matrix are not
    called, and `torch.autograd.grad` does not find the gradient. Logits are always in the same
    memory, so a backward pass has to follow its forward pass.
    """

    def __init__(self) -> None:
        self.memory = torch.empty(0)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use it, in this thread."""
        token = _workspace.set(self)
        try:
            yield
        finally:
            _workspace.reset(token)


_workspace: ContextVar[Workspace | None] = ContextVar("_workspace", default=None)


def scratch(count: int, device: torch.device) -> Tensor:
    """Memory for numbers in float32, from the `Workspace` that is used, or new."""
    workspace = _workspace.get()
    if workspace is None:
        return torch.empty(count, device=device)
    if len(workspace.memory) < count:
        workspace.memory = torch.empty(0)  # first freed, then made larger
        workspace.memory = torch.empty(count)
    return workspace.memory[:count]


def sums_into(weight: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether products, of some format, are to be added to the gradient of a matrix."""
    kept = weight.grad is not None and weight.grad.dtype == dtype
    return kept and _workspace.get() is not None


def add_product(weight: Tensor, a: Tensor, b: Tensor, factor: float = 1.0) -> None:
    """Add ``factor * a^T b`` to ``weight.grad``."""
    assert weight.grad is not None
    product(a.T, b, weight.grad, alpha=factor, beta=1)


def look_up(table: nn.Embedding, ids: Tensor) -> Tensor:
    """Rows ``(..., D)`` of a table, whose gradients are sparse where they are summed.

    Args:
        table: ``(V, D)``.
        ids: ``(...)``, int64, each in ``[0, V)``.
    """
    if not table.training or hooked(table) or not sums_into(table.weight):
        rows: Tensor = table(ids)
        return rows
    return F.embedding(ids, table.weight, sparse=True)


def runs_here(*tensors: Tensor) -> bool:
    """Whether the kernels can compute with the tensors: float32 on the CPU, and not compiled."""
    return (
        all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and gradients.available()
    )


def hooked(*modules: nn.Module) -> bool:
    """Whether someone wants to see what goes through a module, so that it has to be called."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for module in modules for kind in kinds)


def add_norm(x: Tensor, y: Tensor, norm: nn.LayerNorm, dropout: float) -> Tensor:
    """Layer norm of ``x + dropout(y)``.

    Args:
        x: ``(..., D)``.
        y: ``(..., D)``.
        norm: Over D.
        dropout: Probability with which a number of y is left out, in ``[0, 1)``.

    Returns:
        ``(..., D)``.
    """
    if hooked(norm) or not runs_here(x, y, norm.weight, norm.bias):
        normed: Tensor = norm(x + F.dropout(y, dropout))
        return normed
    settings = Dropout(dropout, draw_seed(dropout))
    flat: Tensor = _AddNorm.apply(  # type: ignore[no-untyped-call]
        _rows(x), _rows(y), norm.weight, norm.bias, norm.eps, settings
    )
    return flat.view(x.shape)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x W + b``.

    Args:
        x: ``(..., D)``.
        weight: ``(D, E)``.
        bias: ``(E,)``.

    Returns:
        ``(..., E)``.
    """
    if runs_here(x, weight, bias):
        flat: Tensor = _Linear.apply(_rows(x), weight, bias)  # type: ignore[no-untyped-call]
    else:
        flat = torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight)
    return flat.view(*x.shape[:-1], len(bias))


def mlp(x: Tensor, widen: nn.Module, narrow: nn.Module) -> Tensor:
    """``gelu(x W + b) W' + b'``, GELU in its tanh form; what is wide is kept once.

    Args:
        x: ``(..., D)``.
        widen: Its ``weight`` is W, ``(D, 4 D)``, its ``bias`` b.
        narrow: Its ``weight`` is W', its ``bias`` b'.

    Returns:
        ``(..., D)``.
    """
    if runs_here(x) and not hooked(widen, narrow):
        weights: list[Any] = [widen.weight, widen.bias, narrow.weight, narrow.bias]
        if runs_here(*weights):
            flat: Tensor = _MLP.apply(_rows(x), *weights)  # type: ignore[no-untyped-call]
            return flat.view(x.shape)
    wide: Tensor = narrow(F.gelu(widen(x), approximate="tanh"))
    return wide


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


def _with_bias(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return product(x, weight, bias.repeat(len(x), 1), beta=1)


def _product(weight: Tensor, a: Tensor, b: Tensor) -> Tensor | None:
    """Gradient ``a^T b`` of a matrix; None: it was added to ``weight.grad``."""
    if not sums_into(weight):
        return product(a.T, b)
    add_product(weight, a, b)
    return None


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, gain: Tensor, bias: Tensor, epsilon: float, dropout: Dropout
    ) -> Tensor:
        out, normed, scales = gradients.add_norm(x, y, gain, bias, epsilon, dropout)
        ctx.save_for_backward(normed, scales, gain)
        ctx.dropout = dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        normed, scales, gain = ctx.saved_tensors
        found = gradients.add_norm_backward(grad.contiguous(), normed, scales, gain, ctx.dropout)
        return (*found, None, None)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _with_bias(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return product(grad, weight.T), _product(weight, x, grad), grad.sum(0)


class _MLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, out_weight: Tensor, out_bias: Tensor
    ) -> Tensor:
        wide = product(x, weight)
        ctx.save_for_backward(x, wide, weight, bias, out_weight)
        return _with_bias(gradients.gelu(wide, bias), out_weight, out_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, wide, weight, bias, out_weight = ctx.saved_tensors
        grad_wide = product(grad, out_weight.T)
        active, grad_bias = gradients.gelu_backward(wide, bias, grad_wide)
        grad_weights = (_product(weight, x, grad_wide), _product(out_weight, active, grad))
        return (
            product(grad_wide, weight.T),
            grad_weights[0],
            grad_bias,
            grad_weights[1],
            grad.sum(0),
        )
