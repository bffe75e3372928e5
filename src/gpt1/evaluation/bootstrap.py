"""Confidence intervals by bootstrap: how far a figure could be from this one with other texts.

Whole texts are resampled, because the tokens of a text depend on each other. A ratio, such as nats
per token, is the ratio of the sums of a resample (Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 13: the percentile interval).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
CONFIDENCE = 0.95
DRAWS_AT_ONCE = 1 << 18
"""Rows that are drawn together, which bounds memory; at least one resample of them."""


def resampled_sums(table: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Column sums of `RESAMPLES` resamples of the rows of a table.

    Args:
        table: ``(N, K)``, a row for each independent observation.
        seed: Of the draws.

    Returns:
        ``(RESAMPLES, K)``; each is the sum of N rows drawn with replacement.
    """
    random, size = np.random.default_rng(seed), len(table)
    at_once = max(1, DRAWS_AT_ONCE // size)
    counts = [min(at_once, RESAMPLES - done) for done in range(0, RESAMPLES, at_once)]
    sums = [table[random.integers(0, size, (count, size))].sum(axis=1) for count in counts]
    return np.concatenate(sums)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The percentile interval: the ends that leave out equal shares of the values on both sides.

    Args:
        values: ``(RESAMPLES,)``, the figure in each resample.

    Returns:
        Lower and upper end; together they hold `CONFIDENCE` of the values.
    """
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    return float(low), float(high)
