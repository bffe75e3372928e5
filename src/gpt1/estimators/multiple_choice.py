"""The right one of several options, given a context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.estimators.base import Self, TaskEstimator
from gpt1.estimators.inputs import Data, choices
from gpt1.estimators.scikit_learn import ClassifierMixin
from gpt1.tasks.example import Example


class MultipleChoice(ClassifierMixin, TaskEstimator):  # type: ignore[misc]
    """Chooses an option: the ending of a story, the answer to a question.

    X is a list of ``(context, [option, ...])``, or of dicts, or a frame, with the context and the
    options by name. The context may be several texts, such as a passage and a question; rows may
    have different numbers of options. y holds the number of the right option, from 0. `score` is
    accuracy.

        >>> from gpt1 import MultipleChoice
        >>> rows = [("it rains, so she takes", ["an umbrella", "a nap"])] * 2
        >>> model = MultipleChoice(lr=3e-4, max_steps=10).fit(rows, [0, 0])
        >>> model.predict(rows)
        array([0, 0])

    Attributes:
        classes_: Numbers from 0 to the most options a row had in training.
    """

    layout = "choice"
    kind = "choice"

    def _examples(self, x: Data) -> list[Example]:
        return choices(x)

    def fit(self: Self, X: Data, y: Data) -> Self:
        """As of all estimators; see `gpt1.estimators.base.TaskEstimator.fit`."""
        super().fit(X, y)
        self._count_options(X)
        return self

    def partial_fit(self: Self, X: Data, y: Data, classes: Sequence[Any] | None = None) -> Self:
        """As of all estimators, but ``classes`` is not looked at: options differ by row."""
        super().partial_fit(X, y)
        self._count_options(X)
        return self

    def _count_options(self, x: Data) -> None:
        most = max(len(example.segments) - 1 for example in self._examples(x))
        self.classes_ = np.arange(max(most, len(getattr(self, "classes_", ()))))

    def predict_proba(self, X: Data) -> NDArray[np.float64]:
        """Probabilities of the options.

        Args:
            X: Rows, as in `fit`.

        Returns:
            ``(N, C)`` for at most C options a row, 0 where a row has fewer; rows sum to 1.
        """
        return self._predictions(X).probabilities
