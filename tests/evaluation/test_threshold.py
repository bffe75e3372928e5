"""The best threshold against every threshold there is, judged by scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from sklearn.metrics import matthews_corrcoef

from gpt1.errors import DataError
from gpt1.evaluation.threshold import fit_threshold, matthews_of


def oracle(labels: ArrayLike, predictions: ArrayLike) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A single label was found")
        return float(matthews_corrcoef(labels, predictions))


examples = st.lists(
    st.tuples(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)), st.integers(0, 1)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60)
@given(examples)
def test_no_threshold_is_better(pairs: list[tuple[float, int]]) -> None:
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    found = fit_threshold(scores, labels)
    thresholds = [-np.inf, *scores]
    best = max(oracle(labels, (scores > t).astype(int)) for t in thresholds)
    assert found.matthews == pytest.approx(best, abs=1e-12)
    ours = oracle(labels, (scores > found.value).astype(int))
    assert ours == pytest.approx(found.matthews, abs=1e-12)
    assert np.isfinite(found.value)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_matthews_correlation_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    predictions, labels = (list(column) for column in zip(*pairs, strict=True))
    assert matthews_of(predictions, labels) == pytest.approx(oracle(labels, predictions))


def test_the_threshold_is_half_way() -> None:
    assert fit_threshold([3.0, 1.0, 2.0, 6.0], [0, 0, 0, 1]) == (4.5, 1.0)


def test_neighbouring_floats_are_separated() -> None:
    low = 1.0
    high = np.nextafter(low, 2.0)
    value, matthews = fit_threshold([low, high], [0, 1])
    assert matthews == 1.0
    assert low <= value < high


def test_where_no_cut_helps_all_scores_are_above() -> None:
    assert fit_threshold([2.0, 1.0], [0, 1]).value < 1.0
    assert fit_threshold([2.0, 2.0], [0, 1]) == (np.nextafter(2.0, 0.0), 0.0)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(DataError, match="there are no scores to fit a threshold on"):
        fit_threshold([], [])
