"""Values of texts."""

from __future__ import annotations

from gpt1.estimators.base import TaskEstimator
from gpt1.estimators.inputs import Data, texts
from gpt1.estimators.scikit_learn import RegressorMixin
from gpt1.tasks.example import Example, text


class Regressor(RegressorMixin, TaskEstimator):  # type: ignore[misc]
    """Predicts a value of a text: a rating, a price, a reading time.

    X is a list of texts, a column, or a frame of one column; y holds numbers. The loss is the
    squared error in units of their standard deviation; `score` is R².

        >>> from gpt1 import Regressor
        >>> texts = ["lovely film", "a dull mess", "lovely!", "very dull"]
        >>> model = Regressor(lr=3e-4, max_steps=20).fit(texts, [4.5, 1.0, 5.0, 1.5])
        >>> model.predict(texts).shape
        (4,)
    """

    layout = "text"
    kind = "value"

    def _examples(self, x: Data) -> list[Example]:
        return [text(row) for row in texts(x)]
