"""What a bag of words reaches on the same examples: TF-IDF and logistic regression."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpt1.errors import MissingExtraError
from gpt1.tasks.labels import encode_labels, infer_head
from gpt1.tasks.metrics import compute
from gpt1.tasks.reading import Examples
from gpt1.tasks.task import Task


def tfidf_baseline(task: Task, train: Examples, splits: Mapping[str, Examples]) -> dict[str, float]:
    """Fit TF-IDF of words and a logistic regression, both as scikit-learn has them by default.

    Args:
        task: Of single texts and classes.
        train: To fit on.
        splits: To judge on.

    Returns:
        Metrics, by split and name as "dev:accuracy".

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise MissingExtraError(
            'the baseline needs scikit-learn: pip install "gpt1[tasks]"'
        ) from None
    head = infer_head(train.examples, classes=task.classes)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(_texts(train), encode_labels([e.label for e in train.examples], head))
    figures: dict[str, float] = {}
    for name, split in splits.items():
        labels = encode_labels([e.label for e in split.examples], head)
        scores = compute(task.metrics, labels, np.asarray(model.predict(_texts(split))))
        figures |= {f"{name}:{metric}": value for metric, value in scores.items()}
    return figures


def _texts(examples: Examples) -> list[str]:
    return [example.segments[0][0] for example in examples.examples]
