"""Metrics, against their formulas in float64."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.errors import ConfigError, DataError, MissingExtraError
from gpt1.tasks.metrics import METRICS, compute
from gpt1.tasks.task import NAMES, get_task

pairs_of_classes = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)


def counts(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> tuple[float, ...]:
    """True positives, false positives, false negatives, true negatives."""
    return tuple(
        float(np.sum((labels == a) & (predictions == b)))
        for a, b in ((1, 1), (0, 1), (1, 0), (0, 0))
    )


@settings(deadline=None)
@given(pairs_of_classes)
def test_two_classes_are_scored_by_the_formulas(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs).T
    tp, fp, fn, tn = counts(labels, predictions)
    under = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert compute(["accuracy", "f1", "matthews"], labels, predictions) == pytest.approx(
        {
            "accuracy": (tp + tn) / len(pairs),
            "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0,
            "matthews": (tp * tn - fp * fn) / under if under else 0,
        }
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_macro_f1_is_the_mean_over_the_classes_there_are(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs).T
    each = [
        2 * tp / (2 * tp + fp + fn)
        for c in set(labels) | set(predictions)
        for tp, fp, fn, _ in [counts(1 * (labels == c), 1 * (predictions == c))]
    ]
    assert compute(["macro_f1"], labels, predictions)["macro_f1"] == pytest.approx(np.mean(each))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(-9, 9)),
        min_size=2,
        unique_by=lambda pair: pair[1],
    )
)
def test_values_are_scored_by_the_formulas(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs).T / 10
    scores = compute(["pearson", "spearman"], labels, predictions)
    if len(set(labels)) == 1:
        assert scores == {"pearson": 0, "spearman": 0}
    else:
        assert scores["pearson"] == pytest.approx(correlation(labels, predictions))
        assert scores["spearman"] == pytest.approx(correlation(ranks(labels), ranks(predictions)))


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0, the mean rank where values are the same."""
    return (x[:, None] > x).sum(1) + ((x[:, None] == x).sum(1) - 1) / 2


@pytest.mark.parametrize("name", ["matthews", "pearson", "spearman"])
@pytest.mark.parametrize(
    ("labels", "predictions"), [([0, 1, 1], [1, 1, 1]), ([2, 2], [0, 1]), ([1], [1]), ([0], [1])]
)
def test_a_correlation_with_a_constant_is_nought(
    name: str, labels: list[int], predictions: list[int]
) -> None:
    assert compute([name], labels, predictions) == {name: 0}


def test_values_that_differ_by_rounding_alone_are_constant() -> None:
    assert compute(["pearson"], [1, 2, 3], [3, 3 + 4e-16, 3 + 9e-16]) == {"pearson": 0}


def test_every_task_of_the_paper_has_metrics_that_there_are() -> None:
    for task in map(get_task, NAMES):
        used = {*task.metrics, *(result.metric for result in task.results)}
        assert used <= METRICS.keys()
        assert task.results[0].metric == task.metrics[0]


def test_an_unknown_metric_is_refused() -> None:
    problem = "no metric 'bleu'; the metrics are accuracy, f1, macro_f1, matthews, pearson, spear"
    with pytest.raises(ConfigError, match=problem):
        compute(["accuracy", "bleu"], [0], [0])


@pytest.mark.parametrize(("labels", "predictions"), [([], []), ([0], [0, 1]), ([[0]], [[0]])])
def test_labels_and_predictions_must_be_as_many(labels: list[int], predictions: list[int]) -> None:
    with pytest.raises(DataError, match=r"labels are \(.*\) and predictions \(.*\), but both must"):
        compute(["accuracy"], labels, predictions)


def test_f1_of_more_than_two_classes_is_refused() -> None:
    with pytest.raises(DataError, match="f1 is of two classes, 0 and 1, but there is 2; take mac"):
        compute(["f1"], [0, 1, 1], [0, 1, 2])


def test_a_prediction_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="a label or prediction is not a finite number"):
        compute(["pearson"], [0.0, 1.0], [0.0, float("nan")])


@pytest.mark.parametrize(
    ("metric", "module", "problem"),
    [
        ("f1", "sklearn", "F1 and Matthews correlation need scikit-learn"),
        ("pearson", "scipy", "Pearson and Spearman correlation need SciPy"),
    ],
)
def test_without_a_library_the_extra_is_named(
    metric: str, module: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'{problem}: pip install "gpt1\[tasks\]"'):
        compute([metric], [0, 1], [0, 1])
