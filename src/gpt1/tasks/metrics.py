"""Figures of merit, from scikit-learn and SciPy: in [0, 1], correlations in [-1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def compute(
    names: Sequence[str], labels: NDArray[Any], predicted: NDArray[Any]
) -> dict[str, float]:
    """The metrics of these names; labels and predictions are class numbers or values."""
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    f = {
        "accuracy": accuracy_score,
        "f1": lambda a, b: f1_score(a, b, zero_division=0),
        "matthews": matthews_corrcoef,
        "pearson": lambda a, b: pearsonr(a, b)[0],
        "spearman": lambda a, b: spearmanr(a, b)[0],
    }
    return {n: float(np.nan_to_num(f[n](labels, predicted))) for n in names}
