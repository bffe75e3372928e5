"""The random part of sampling: from scores and a random number to a token."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpt1.generation.processors import softmax


def draw(logits: NDArray[np.float64], uniforms: Sequence[float]) -> list[int]:
    """Draw one token a row, by inverting the cumulated probabilities.

    Args:
        logits: ``(B, V)``. In NumPy's float64, a row's token depends neither on the other rows nor
            on the device of the model.
        uniforms: One number in ``[0, 1)`` a row.

    Returns:
        B token ids.
    """
    cumulated = softmax(logits).cumsum(-1)
    targets = np.asarray(uniforms) * cumulated[:, -1]
    rows = zip(cumulated, targets, strict=True)
    return [int(row.searchsorted(target, side="right")) for row, target in rows]


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
