"""What a bag of words, and the most frequent answer, reach on the same examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import MissingExtraError
from gpt1.tasks.example import Example
from gpt1.tasks.labels import encode_labels, infer_head
from gpt1.tasks.metrics import compute
from gpt1.tasks.task import Task

Predict: TypeAlias = Callable[[Sequence[Example]], NDArray[Any]]
"""From examples to classes, options or values."""


def baseline_scores(
    name: str, task: Task, train: Sequence[Example], splits: Mapping[str, Sequence[Example]]
) -> dict[str, float]:
    """Fit a baseline and judge it.

    Args:
        name: "tfidf" or "majority".
        task: Says the classes and the metrics.
        train: To fit on.
        splits: To judge on, by name.

    Returns:
        Metrics, by split and name as "dev:accuracy"; none where the baseline is not for such a
        task: TF-IDF takes single texts and classes.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    if name == "tfidf" and (train[0].layout != "text" or not task.classes):
        return {}
    head = infer_head(train, classes=task.classes)
    labels = encode_labels([example.label for example in train], head)
    predict = (_tfidf if name == "tfidf" else _majority)(train, labels)
    figures: dict[str, float] = {}
    for split, examples in splits.items():
        true = encode_labels([example.label for example in examples], head)
        scores = compute(task.metrics, true, predict(examples))
        figures |= {f"{split}:{metric}": value for metric, value in scores.items()}
    return figures


def _majority(train: Sequence[Example], labels: NDArray[Any]) -> Predict:
    """The most frequent class or option of the training examples, or their mean value."""
    if labels.dtype.kind == "f":
        answer: Any = labels.mean()
    else:
        answer = np.bincount(labels).argmax()
    return lambda examples: np.full(len(examples), answer)


def _tfidf(train: Sequence[Example], labels: NDArray[Any]) -> Predict:
    """TF-IDF of words and a logistic regression, both as scikit-learn has them by default."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise MissingExtraError(
            'the baseline needs scikit-learn: pip install "gpt1[tasks]"'
        ) from None
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(_texts(train), labels)
    return lambda examples: np.asarray(model.predict(_texts(examples)))


def _texts(examples: Sequence[Example]) -> list[str]:
    return [example.segments[0][0] for example in examples]
