"""From scores to the next token: temperature, top-k, top-p and the draw.

Each filter takes logits ``(B, V)`` and returns logits ``(B, V)``, with ``-inf`` for a token that
may not be drawn; the names and the results are those of transformers' logits warpers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt1.config import GenerationConfig

INFINITY = float("inf")


def temperature(logits: Tensor, value: float) -> Tensor:
    """Divide logits ``(B, V)`` by ``value > 0``: below 1 is more cautious, above 1 bolder."""
    return logits / value


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the ``k >= 1`` highest logits of each row of ``(B, V)``, and those equal to the k-th."""
    lowest = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < lowest, -INFINITY)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep, in each row, the fewest tokens whose probabilities sum to ``p`` or more.

    Args:
        logits: ``(B, V)``.
        p: In ``(0, 1]``.

    Returns:
        ``(B, V)``; the most likely token of a row always stays.

    Source: nucleus sampling, Holtzman et al. 2019.
    """
    probs = logits.softmax(-1)
    # Tokens up to this probability sum to less than 1 - p, so only those above it need sorting.
    candidates = int((probs > (1 - p) / probs.shape[-1]).sum(-1).max())
    best = probs.topk(max(1, candidates))
    before = best.values.cumsum(-1) - best.values
    removed = torch.ones_like(probs, dtype=torch.bool).scatter_(-1, best.indices, before >= p)
    return logits.masked_fill(removed, -INFINITY)


def filtered(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Apply the filters that ``config`` sets to logits ``(B, V)``, in transformers' order."""
    if config.temperature is not None:
        logits = temperature(logits, config.temperature)
    if config.top_k is not None:
        logits = top_k(logits, config.top_k)
    if config.top_p is not None:
        logits = top_p(logits, config.top_p)
    return logits


def draw(logits: Tensor, uniforms: Sequence[float]) -> list[int]:
    """Draw one token a row, by inverting the cumulated probabilities.

    Args:
        logits: ``(B, V)``, float64, on the CPU, so that a row's token does not depend on the other
            rows or the device.
        uniforms: One number in ``[0, 1)`` a row.

    Returns:
        B token ids.
    """
    cumulated = logits.softmax(-1).cumsum(-1)
    targets = torch.tensor(uniforms, dtype=logits.dtype)[:, None] * cumulated[:, -1:]
    ids: list[int] = torch.searchsorted(cumulated, targets, right=True)[:, 0].tolist()
    return ids


def random_source(seed: int | None, prompt: Sequence[int], continuation: int) -> random.Random:
    """The random numbers of one continuation of a prompt.

    Args:
        seed: `GenerationConfig.seed`; None gives different numbers each time.
        prompt: Token ids.
        continuation: Its number among the continuations of the prompt, from 0.

    Returns:
        A generator that depends on the three arguments alone: not on the other prompts of a batch,
        the Python or torch version or the device.
    """
    # With the seed alone, all prompts of a batch would draw the same numbers and drift together.
    # Text seeds are hashed by SHA-512, so similar ones give unrelated numbers.
    return random.Random(None if seed is None else f"{seed}/{continuation}/{list(prompt)}")
