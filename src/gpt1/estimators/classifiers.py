"""Classes of texts, and of pairs of texts in an order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpt1.config import TaskConfig
from gpt1.estimators.base import TaskEstimator
from gpt1.estimators.inputs import Data, pairs, texts
from gpt1.estimators.scikit_learn import ClassifierMixin
from gpt1.tasks.example import Example, pair, text
from gpt1.training.finetune_task import PAPER


class WeighsClasses(TaskEstimator):
    """An estimator of classes; see `TaskEstimator` for the other parameters.

    Args:
        class_weight: What the loss of each class is multiplied with: a mapping from classes (1 for
            those left out), "balanced" to make every class count the same, or None.

    Attributes:
        classes_: The classes, sorted, of the type of the labels.
    """

    kind = "class"

    def __init__(  # noqa: PLR0913 (scikit-learn reads the parameters from here)
        self,
        model: str | Path = "mini",
        *,
        epochs: float = PAPER.epochs,
        batch_size: int = PAPER.batch_size,
        lr: float | None = None,
        seed: int = PAPER.seed,
        lm_coef: float = TaskConfig.lm_coef,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        device: str = PAPER.device,
        precision: Literal["fp32", "bf16"] = PAPER.precision,
        warmup_fraction: float | None = None,
        validation_fraction: float = 0.0,
        max_steps: int | None = None,
        micro_batch_size: int | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            model,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            lm_coef=lm_coef,
            device=device,
            precision=precision,
            warmup_fraction=warmup_fraction,
            validation_fraction=validation_fraction,
            max_steps=max_steps,
            micro_batch_size=micro_batch_size,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def predict_proba(self, X: Data) -> NDArray[np.float64]:
        """Probabilities of the classes.

        Args:
            X: Rows, as in `fit`.

        Returns:
            ``(N, C)``, in the order of ``classes_``; rows sum to 1.
        """
        return self._predictions(X).probabilities


class Classifier(ClassifierMixin, WeighsClasses):  # type: ignore[misc]
    """Tells texts apart: sentiment, topics, spam.

    X is a list of texts, a column, or a frame of one column; y holds strings, whole numbers or
    booleans. `score` is accuracy.

        >>> from gpt1 import Classifier
        >>> texts = ["what a lovely film", "a dull, sad mess", "lovely!", "so very dull"]
        >>> model = Classifier(lr=3e-4, max_steps=20).fit(texts, ["good", "bad", "good", "bad"])
        >>> model.predict(texts[:2])
        array(['good', 'bad'], dtype='<U4')
    """

    layout = "text"

    def _examples(self, x: Data) -> list[Example]:
        return [text(row) for row in texts(x)]


class PairClassifier(ClassifierMixin, WeighsClasses):  # type: ignore[misc]
    """Tells pairs of texts apart whose order matters: does a sentence follow from another?

    X is a list of pairs, or a frame or array of two columns. `score` is accuracy.

        >>> from gpt1 import PairClassifier
        >>> pairs = [("a dog runs", "an animal runs"), ("a dog runs", "nobody runs")]
        >>> model = PairClassifier(lr=3e-4, max_steps=20).fit(pairs, [True, False])
        >>> model.predict(pairs)
        array([ True, False])
    """

    layout = "pair"

    def _examples(self, x: Data) -> list[Example]:
        return [pair(first, second) for first, second in pairs(x)]
