"""Parts of a training step in C++, on the threads of PyTorch's own OpenMP: see `csrc/training.cpp`.

All tensors are float32, contiguous and on the CPU, or as said. Numbers that dropout leaves out are
a function of the seed and their place: the same call leaves out the same.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import Structure, byref, c_float, c_int32, c_uint64, c_void_p
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gpt1.native.library import kernels, library

ROWS = 32
"""Rows whose sum is one part of the sum over all."""

STRETCH = 2**14
"""Numbers whose sum of squares is one part of the sum over all."""

CACHE_LINE = 16
"""Numbers of a line of a CPU's cache."""


class Dropout(NamedTuple):
    """Which numbers are left out.

    Attributes:
        probability: In ``[0, 1)``.
        seed: Of the choice, in ``[0, 2**64)``.
    """

    probability: float
    seed: int


class _Team(Structure):
    _fields_ = [("fork", c_void_p), ("threads", c_int32), ("kernels", c_void_p)]


class _Dropout(Structure):
    _fields_ = [("probability", c_float), ("seed", c_uint64)]


class _Attention(Structure):
    _fields_ = [("qkv", c_void_p), ("heads", c_int32), ("size", c_int32), ("dropout", _Dropout)]


def available() -> bool:
    """Whether there is a library that this processor can run."""
    return kernels() is not None


def attend(qkv: Tensor, starts: Tensor, dropout: Dropout) -> tuple[Tensor, Tensor]:
    """Attention within texts, see `gpt1.fused.attention.attend`.

    Args:
        qkv: ``(N, 3, H, K)``.
        starts: ``(S + 1,)``, int64.
        dropout: Of the attention weights.

    Returns:
        ``(N, H, K)``, and the logarithm of the sum of the exponentials of each query's scores,
        ``(N, H)``.
    """
    mixed, log_sums = qkv.new_empty(qkv[:, 0].shape), qkv.new_empty(qkv.shape[0], qkv.shape[2])
    _call("attend", _attention(qkv, dropout), starts, len(starts) - 1, mixed, log_sums)
    return mixed, log_sums


def attend_backward(
    grad: Tensor, qkv: Tensor, mixed: Tensor, log_sums: Tensor, starts: Tensor, dropout: Dropout
) -> Tensor:
    """Gradient of queries, keys and values, ``(N, 3, H, K)``.

    Args:
        grad: ``(N, H, K)``, of what was mixed.
        qkv: As for `attend`.
        mixed: What it returned.
        log_sums: The same.
        starts: As for `attend`.
        dropout: The same.
    """
    grad_qkv = torch.empty_like(qkv)
    tensors = (grad, mixed, log_sums, grad_qkv)
    _call("attend_backward", _attention(qkv, dropout), starts, len(starts) - 1, *tensors)
    return grad_qkv


def gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Tanh form of GELU of ``x + bias``; x is ``(N, W)``, bias ``(W,)``."""
    y = torch.empty_like(x)
    _call("gelu", x, bias, *x.shape, y)
    return y


def gelu_backward(x: Tensor, bias: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the gradient of `gelu`, in place, into that of x.

    Args:
        x: As for `gelu`.
        bias: The same.
        grad: ``(N, W)``, overwritten.

    Returns:
        What `gelu` returned, ``(N, W)``, and the gradient of the bias, ``(W,)``.
    """
    rows, width = x.shape
    y, parts = x.new_empty(rows, spread(width))[:, :width], _parts(x)
    _call("gelu_backward", x, bias, rows, width, y, y.stride(0), grad, parts)
    return y, parts.sum(0)


def add_norm(
    x: Tensor, y: Tensor, gain: Tensor, bias: Tensor, epsilon: float, dropout: Dropout
) -> tuple[Tensor, Tensor, Tensor]:
    """Layer norm of ``x + dropout(y)``.

    Args:
        x: ``(N, W)``.
        y: ``(N, W)``.
        gain: ``(W,)``.
        bias: ``(W,)``.
        epsilon: Added to the variance.
        dropout: Of y.

    Returns:
        The result, ``(N, W)``; the same before gain and bias; 1 / deviation of each row, ``(N,)``.
    """
    out, normed, scales = torch.empty_like(x), torch.empty_like(x), x.new_empty(len(x))
    settings = (c_float(epsilon), byref(_Dropout(*dropout)))
    _call("add_norm", x, y, gain, bias, *settings, *x.shape, normed, scales, out)
    return out, normed, scales


def add_norm_backward(
    grad: Tensor, normed: Tensor, scales: Tensor, gain: Tensor, dropout: Dropout
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, y, gain and bias of `add_norm`; of x and y they may be one tensor.

    Args:
        grad: ``(N, W)``, of the result.
        normed: As `add_norm` returned it.
        scales: The same.
        gain: As for `add_norm`.
        dropout: The same.
    """
    grad_x = torch.empty_like(grad)
    grad_y = torch.empty_like(grad) if dropout.probability else grad_x
    sums = (_parts(grad), _parts(grad))
    settings = (byref(_Dropout(*dropout)), *grad.shape)
    _call("add_norm_backward", grad, normed, scales, gain, *settings, grad_x, grad_y, *sums)
    return grad_x, grad_y, sums[0].sum(0), sums[1].sum(0)


def errors(logits: Tensor, vocab_size: int, targets: Tensor, weights: Tensor) -> Tensor:
    """Turn logits, in place, into their gradients.

    Args:
        logits: ``(N, W)`` with W at least ``vocab_size``; what stands behind becomes 0.
        vocab_size: Logits of a row.
        targets: ``(N,)``, int64, each in ``[0, vocab_size)``.
        weights: ``(N,)``, share of each target in the loss.

    Returns:
        ``(N,)``, log-probability of each target, nats.
    """
    log_probs = logits.new_empty(len(logits))
    rows, width = logits.shape
    _call("errors", logits, rows, vocab_size, width, targets, weights, log_probs)
    return log_probs


def sum_of_squares(x: Tensor) -> float:
    """Of all numbers of a tensor: `STRETCH` at a time in float32, then in float64."""
    sums = x.new_empty(-(-x.numel() // STRETCH))
    _call("sum_of_squares", x.contiguous(), x.numel(), sums)
    return float(sums.double().sum())


def spread(width: int) -> int:
    """How far apart rows of so many numbers should begin.

    Into rows that begin anywhere, products take a third longer on a CPU, and use no tensor cores on
    a GPU. An odd number of lines of a cache apart, they begin in different parts of it.
    """
    return (-(-width // CACHE_LINE) | 1) * CACHE_LINE


def _attention(qkv: Tensor, dropout: Dropout) -> Any:
    return byref(_Attention(qkv.data_ptr(), *qkv.shape[2:], _Dropout(*dropout)))


def _parts(rows: Tensor) -> Tensor:
    """Where sums over each `ROWS` rows go."""
    return rows.new_empty(-(-len(rows) // ROWS), rows.shape[1])


@cache
def _fork() -> int | None:
    """Where OpenMP's function is that runs another one in all its threads.

    With threads of its own, the library would wait for those of PyTorch, which spin for a while.
    """
    fork = None if sys.platform == "win32" else getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    return ctypes.cast(fork, c_void_p).value if fork else None


def team() -> Structure:
    """Who computes in a call of the library: the threads of PyTorch, with the best kernels."""
    loaded, chosen = library(), kernels()
    assert loaded is not None
    assert chosen is not None
    return _Team(_fork(), torch.get_num_threads(), loaded.gpt1_gradients(chosen.encode()))


def _call(name: str, *arguments: Any) -> None:
    """Call the function of the library; it is given where the numbers of tensors are."""
    given = (a.data_ptr() if isinstance(a, Tensor) else a for a in arguments)
    getattr(library(), f"gpt1_{name}")(byref(team()), *given)
