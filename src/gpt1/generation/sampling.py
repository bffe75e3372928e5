"""The random part of sampling: from scores and a random number to a token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.generation.processors import exponentials, filtered
from gpt1.native import sampling as native


def sample(scores: NDArray[Any], config: GenerationConfig, uniforms: Sequence[float]) -> list[int]:
    """Draw one token a row among those that the sampling settings leave.

    The C++ library draws where it is there; where rounding could make a difference, this does.

    Args:
        scores: ``(B, V)``, not all ``-inf`` in any row.
        config: Its settings of sampling.
        uniforms: One number in ``[0, 1)`` a row.

    Returns:
        B token ids: those of `filtered` and `draw` in float64.
    """
    tokens = native.draw(scores, config, uniforms) or [native.UNDECIDED] * len(scores)
    rest = [row for row, token in enumerate(tokens) if token == native.UNDECIDED]
    if rest:
        kept = filtered(scores[rest].astype(np.float64), config)
        drawn = draw(kept, [uniforms[row] for row in rest])
        for row, token in zip(rest, drawn, strict=True):
            tokens[row] = token
    return tokens


def draw(logits: NDArray[np.float64], uniforms: Sequence[float]) -> list[int]:
    """Draw one token a row, by inverting the cumulated probabilities.

    Args:
        logits: ``(B, V)``. In NumPy's float64, a row's token depends neither on the other rows nor
            on the device of the model.
        uniforms: One number in ``[0, 1)`` a row.

    Returns:
        B token ids.
    """
    return [_draw(*row) for row in zip(logits, uniforms, strict=True)]


def _draw(logits: NDArray[np.float64], uniform: float) -> int:
    weights = exponentials(logits)
    possible = np.flatnonzero(weights > 0)
    cumulated = (weights[possible] / weights.sum()).cumsum()
    place = int(cumulated.searchsorted(uniform * cumulated[-1], side="right"))
    return int(possible[min(place, len(possible) - 1)])


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
