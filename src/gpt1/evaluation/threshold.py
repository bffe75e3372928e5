"""The threshold on a score that separates two classes best, by Matthews correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import DataError


class Threshold(NamedTuple):
    """Scores above ``value`` are of class 1; ``matthews`` is what that gives on the fitted data."""

    value: float
    matthews: float


def fit_threshold(scores: ArrayLike, labels: ArrayLike) -> Threshold:
    """Try every way to cut the sorted scores in two, in O(n log n).

    Args:
        scores: ``(n,)``, finite.
        labels: ``(n,)``, 0 or 1.

    Returns:
        The cut with the largest Matthews correlation, the lowest of several, half-way between the
        two scores it separates; below all scores where no cut is better than none.

    Raises:
        DataError: If there are no scores.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if not len(values):
        raise DataError("there are no scores to fit a threshold on; give labelled sentences")
    order = np.argsort(values, kind="stable")
    values, truth = values[order], truth[order]
    positives = np.concatenate([[truth.sum()], truth.sum() - np.cumsum(truth)])
    above = np.arange(len(values), -1, -1)  # cut k has the first k scores below it
    quality = _matthews(positives, above - positives, int(truth.sum()), len(values))
    quality[1:-1][values[1:] == values[:-1]] = -np.inf  # equal scores cannot be separated
    best = int(np.argmax(quality))
    return Threshold(_between(values, best), float(quality[best]))


def _between(values: NDArray[np.float64], cut: int) -> float:
    """A number with ``cut`` of the sorted values at or below it and the others above it."""
    lower = values[cut - 1] if cut else np.nextafter(values[0], -np.inf)
    if cut in (0, len(values)):
        return float(lower)
    upper = values[cut]
    middle = lower + (upper - lower) / 2
    return float(middle if lower <= middle < upper else lower)


def matthews_of(predictions: Sequence[int], labels: Sequence[int]) -> float:
    """Matthews correlation of predictions, 0 or 1 each; 0 where all of them, or all labels, agree.

    Args:
        predictions: ``(n,)``.
        labels: ``(n,)``.

    Returns:
        In ``[-1, 1]``.
    """
    ours, truth = np.asarray(predictions, bool), np.asarray(labels, bool)
    hits, misses = np.sum(ours & truth), np.sum(ours & ~truth)
    return float(_matthews(hits, misses, int(truth.sum()), len(truth)))


def _matthews(
    true_positives: ArrayLike, false_positives: ArrayLike, positives: int, total: int
) -> NDArray[np.float64]:
    """From counts, of any shape; 0 where one of the marginal counts is."""
    tp, fp = np.asarray(true_positives, np.float64), np.asarray(false_positives, np.float64)
    fn, tn = positives - tp, total - positives - fp
    scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return np.divide(tp * tn - fp * fn, scale, out=np.zeros_like(scale), where=scale > 0)
