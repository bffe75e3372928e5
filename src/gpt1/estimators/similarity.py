"""How alike two texts are, as a class or as a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.estimators.classifiers import WeighsClasses
from gpt1.estimators.inputs import Data, pairs
from gpt1.estimators.scikit_learn import ClassifierMixin, available_if, r2_score
from gpt1.estimators.targets import Kind
from gpt1.tasks.example import Example, similarity


def _has_classes(estimator: Similarity) -> bool:
    return not hasattr(estimator, "model_") or hasattr(estimator, "classes_")


class Similarity(ClassifierMixin, WeighsClasses):  # type: ignore[misc]
    """Compares two texts in no order: the model reads both orders and adds what it makes of them.

    X is a list of pairs, or a frame or array of two columns. Where y holds floats they are values:
    `predict` gives values, `score` is R², and there is no `predict_proba`. Else y holds classes.

        >>> from gpt1 import Similarity
        >>> pairs = [("a dog runs", "a dog is running"), ("a dog runs", "it rains")]
        >>> model = Similarity(lr=3e-4, max_steps=20).fit(pairs, [4.8, 0.2])
        >>> one, other = model.predict(pairs)
        >>> bool(one > other)
        True
    """

    layout = "similarity"

    def _examples(self, x: Data) -> list[Example]:
        return [similarity(first, second) for first, second in pairs(x)]

    def _kind(self, known: Sequence[Any]) -> Kind:
        return "value" if any(isinstance(label, float) for label in known) else "class"

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Data) -> NDArray[np.float64]:
        """Probabilities of the classes; not for values.

        Args:
            X: Rows, as in `fit`.

        Returns:
            ``(N, C)``, in the order of ``classes_``; rows sum to 1.
        """
        return super().predict_proba(X)

    def score(self, X: Data, y: Data, sample_weight: Any = None) -> float:
        """Accuracy of the classes, or R² of the values.

        Args:
            X: Rows, as in `fit`.
            y: What is right.
            sample_weight: Weight of each row, or None.

        Returns:
            At most 1.
        """
        if _has_classes(self):
            return float(super().score(X, y, sample_weight))
        return float(r2_score(y, self.predict(X), sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if not _has_classes(self):
            from sklearn.utils import RegressorTags

            tags.estimator_type, tags.classifier_tags = "regressor", None
            tags.regressor_tags = RegressorTags()
        return tags
