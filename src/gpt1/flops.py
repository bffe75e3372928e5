"""Floating-point operations of training, and how many of them a machine can do.

A product of matrices counts two operations, a multiplication and an addition, for each weight and
token; the backward pass costs twice the forward pass. Everything else (softmax, norms, activations,
the optimizer) is left out, as is usual.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from gpt1.config import BackboneConfig, GPTConfig

if TYPE_CHECKING:
    import torch

SIDES = (256, 512, 1024, 2048, 4096, 8192)
"""Rows and columns of the square matrices a machine is measured with."""

REPEATS = 4
"""Products of each size."""

BUDGET_S = 0.5
"""Seconds after which no further product is begun."""


def matrix_parameters(config: BackboneConfig) -> int:
    """Weights that every token is multiplied with; the tied output layer counts once.

    Looking up the token and position tables multiplies nothing and is not counted, nor are biases
    and the gains of norms.

    Args:
        config: Shape of a GPT or an LSTM.
    """
    output = config.vocab_size * config.n_embd
    if isinstance(config, GPTConfig):
        return 12 * config.n_layer * config.n_embd**2 + output  # 3 + 1 attention, 4 + 4 mlp
    gates = 4 * config.n_units * (config.n_embd + config.n_units)
    return gates + config.n_units * config.n_embd + output


def training_flops_per_token(config: BackboneConfig, seq_len: int) -> int:
    """Operations of the forward and backward pass for each token.

    ``6 N + 12 L D T`` for a GPT of ``N`` `matrix_parameters`, ``L`` layers and width ``D`` on
    sequences of ``T`` tokens; ``6 N`` for an LSTM. The second term is the scores and the weighted
    values of attention. By convention it is that of full attention, though half of it is masked,
    and what activation checkpointing computes again does not count.

    Args:
        config: Shape of a GPT or an LSTM.
        seq_len: Tokens per sequence, at least 1.

    Source: PaLM (Chowdhery et al., 2022), appendix B.
    """
    flops = 6 * matrix_parameters(config)
    if isinstance(config, GPTConfig):
        flops += 12 * config.n_layer * config.n_embd * seq_len
    return flops


@cache
def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """How fast this machine multiplies matrices: measured once in a process, in under a second.

    Square matrices of growing size are multiplied with themselves, as long as time allows. The best
    rate counts, as others may use the machine meanwhile. What torch is set to (its threads, TF32)
    counts too.

    Args:
        device: Where.
        dtype: Number format of both matrices and the product.

    Returns:
        Operations per second.
    """
    _product_s(SIDES[0], device, dtype)  # sets the library up
    end, best = time.perf_counter() + BUDGET_S, 0.0
    for side in SIDES:
        for _ in range(REPEATS):
            if best and time.perf_counter() > end:
                return best
            best = max(best, 2 * side**3 / _product_s(side, device, dtype))
    return best


def _product_s(side: int, device: torch.device, dtype: torch.dtype) -> float:
    import torch  # not above: counting operations needs none

    from gpt1.native.products import product  # what a model multiplies with

    factor = torch.full((side, side), 1 / side, device=device, dtype=dtype)
    float(factor[0, 0])  # reading an element waits until an accelerator is done
    began = time.perf_counter()
    float(product(factor, factor)[0, 0])
    return time.perf_counter() - began


def mfu(flops_per_s: float, rate: float, world_size: int = 1) -> float:
    """Model FLOPs utilization: the share of the matrix rate of its devices that a run makes use of.

    Args:
        flops_per_s: Of the whole run: tokens per second times `training_flops_per_token`.
        rate: Of one device, operations per second: `matrix_rate`.
        world_size: Devices.

    Source: PaLM (Chowdhery et al., 2022), appendix B, which divides by the peak of the data sheet;
    a measured rate exists for every machine, and is what matrix products really reach there.
    """
    return flops_per_s / (rate * world_size)
