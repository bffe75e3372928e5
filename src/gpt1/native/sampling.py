"""Tokens drawn by the C++ library: see `csrc/sampling.cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_double, c_int32
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.native.library import default_threads, kernels, library

SMALLEST_TEMPERATURE = 1e-300
"""Below it the quotient overflows, and the choice has long been greedy."""

UNDECIDED = -1


class _Settings(ctypes.Structure):
    _fields_ = [
        *((name, c_double) for name in ("temperature", "top_p", "min_p")),
        ("top_k", c_int32),
    ]


def draw(
    scores: NDArray[Any], config: GenerationConfig, uniforms: Sequence[float]
) -> list[int] | None:
    """Draw a token a row as `processors.filtered` and `sampling.draw` do.

    Args:
        scores: ``(B, V)``, see `gpt1.generation.scores.Scores`; each row has a finite one.
        config: Its settings of sampling.
        uniforms: One number in ``[0, 1)`` a row.

    Returns:
        B token ids, `UNDECIDED` in place of those that depend on rounding. None where there is no
        library, or it does not know the settings.
    """
    loaded, name = library(), kernels()
    if loaded is None or name is None or scores.dtype != np.float32:
        return None
    if config.typical_p is not None and config.typical_p < 1:
        return None
    temperature = 1.0 if config.temperature is None else config.temperature
    settings = _Settings(
        max(temperature, SMALLEST_TEMPERATURE),
        1.0 if config.top_p is None else config.top_p,
        config.min_p or 0.0,
        min(config.top_k or 0, scores.shape[1]),
    )
    scores = np.ascontiguousarray(scores)
    numbers = np.asarray(uniforms, np.float64)
    tokens = np.empty(len(scores), np.int32)
    loaded.gpt1_draw(
        *(scores.ctypes.data, *scores.shape, byref(settings), numbers.ctypes.data),
        *(default_threads(), name.encode(), tokens.ctypes.data),
    )
    found: list[int] = tokens.tolist()
    return found
