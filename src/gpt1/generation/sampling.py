"""The random part of sampling: from scores and a random number to a token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt1.generation.processors import exponentials


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
