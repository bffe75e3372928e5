"""How predictions are scored: the metrics of the paper's tables, by scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpt1.errors import ConfigError, DataError, MissingExtraError

Numbers = NDArray[Any]


def compute(names: Sequence[str], labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Score predictions.

    Args:
        names: Of `METRICS`: "accuracy", "f1" of class 1 of two, "macro_f1" (the mean over the
            classes there are), "matthews", "pearson" or "spearman".
        labels: ``(N,)``: numbers of classes or options, or values, at least one.
        predictions: ``(N,)``, of the same kind.

    Returns:
        Each metric, not in percent: correlations in [-1, 1], the others in [0, 1]. What is not
        defined is 0: a correlation where all labels or predictions are the same, and F1 where
        class 1 is neither there nor predicted.

    Raises:
        ConfigError: If there is no such metric.
        DataError: If there are no labels, another number of predictions, one is not a finite
            number, or F1 is asked for where there are more than two classes.
        MissingExtraError: If scikit-learn or SciPy is not installed.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise ConfigError(
            f"there is no metric {unknown[0]!r}; the metrics are {', '.join(METRICS)}"
        )
    true, predicted = np.asarray(labels), np.asarray(predictions)
    if true.shape != predicted.shape or true.ndim != 1 or not len(true):
        raise DataError(
            f"labels are {true.shape} and predictions {predicted.shape}, but both must be a row "
            "of as many numbers, at least one"
        )
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise DataError("a label or prediction is not a finite number")
    return {name: float(METRICS[name](true, predicted)) for name in names}


def _accuracy(labels: Numbers, predictions: Numbers) -> float:
    return float(np.mean(labels == predictions))


def _f1(labels: Numbers, predictions: Numbers) -> float:
    classes = np.union1d(labels, predictions)
    if not np.isin(classes, (0, 1)).all():
        raise DataError(
            f"f1 is of two classes, 0 and 1, but there is {classes.max():g}; take macro_f1"
        )
    return float(_scikit_learn().f1_score(labels, predictions, zero_division=0.0))


def _macro_f1(labels: Numbers, predictions: Numbers) -> float:
    score = _scikit_learn().f1_score(labels, predictions, average="macro", zero_division=0.0)
    return float(score)


def _matthews(labels: Numbers, predictions: Numbers) -> float:
    if _constant(labels, predictions):
        return 0.0
    return float(_scikit_learn().matthews_corrcoef(labels, predictions))


def _pearson(labels: Numbers, predictions: Numbers) -> float:
    if _constant(labels, predictions):
        return 0.0
    return float(_stats().pearsonr(labels, predictions)[0])


def _spearman(labels: Numbers, predictions: Numbers) -> float:
    if _constant(labels, predictions):
        return 0.0
    return float(_stats().spearmanr(labels, predictions)[0])


def _constant(*rows: Numbers) -> bool:
    """Whether one of them does not vary, but by rounding, so that they have no correlation."""
    return any(np.ptp(row) <= 1e-12 * np.abs(row).max() for row in rows)


METRICS: dict[str, Callable[[Numbers, Numbers], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "macro_f1": _macro_f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}


def _scikit_learn() -> Any:
    try:
        from sklearn import metrics
    except ImportError:
        raise MissingExtraError(
            'F1 and Matthews correlation need scikit-learn: pip install "gpt1[tasks]"'
        ) from None
    return metrics


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise MissingExtraError(
            'Pearson and Spearman correlation need SciPy: pip install "gpt1[tasks]"'
        ) from None
    return stats
