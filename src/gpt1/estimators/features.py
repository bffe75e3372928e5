"""Vectors of texts as a step of a pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpt1.checkpoint import load_model
from gpt1.estimators.inputs import Data, texts
from gpt1.estimators.scikit_learn import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    check_is_fitted,
)
from gpt1.evaluation.features import Pooling, example_features
from gpt1.locate import locate
from gpt1.tasks.example import text
from gpt1.tokenizer import Tokenizer

Self = TypeVar("Self", bound="Features")


class Features(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns texts into vectors of a frozen language model, for a fast linear model behind it.

        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from gpt1 import Features
        >>> model = make_pipeline(Features(pooling="mean"), LogisticRegression())
        >>> model.fit(["lovely film", "dull mess"], ["good", "bad"]).predict(["lovely film"])
        array(['good'], dtype='<U4')

    Args:
        model: "mini", a folder or a hub id; a fine-tuned one as well.
        pooling: "last": the state of the last token; "mean": the mean over all tokens; "extract",
            of a fine-tuned model: what its head reads.
        device: Where to compute: "cpu", "cuda", "cuda:1", "mps".

    Attributes:
        model_: The language model, a torch module.
        tokenizer_: Its tokenizer.
    """

    def __init__(
        self, model: str | Path = "mini", *, pooling: Pooling = "mean", device: str = "cpu"
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.device = device

    def fit(self: Self, X: Data, y: Any = None) -> Self:
        """Load the model; nothing is learned from the texts.

        Raises:
            DataError: If X cannot be used.
            CheckpointError: If there is no such model.
        """
        texts(X)
        folder = locate(self.model)
        self.model_ = load_model(folder, device=self.device, dtype="float32")
        self.tokenizer_ = Tokenizer.load(folder)
        return self

    def transform(self, X: Data) -> NDArray[np.float32]:
        """The vectors of texts.

        Args:
            X: A list of texts, a column, or a frame of one column.

        Returns:
            ``(N, D)``.

        Raises:
            DataError: If X cannot be used.
            ConfigError: If there is no such pooling.
        """
        check_is_fitted(self, "model_")
        examples = [text(row) for row in texts(X)]
        return example_features(self.model_, self.tokenizer_, examples, self.pooling)

    @property
    def _n_features_out(self) -> int:
        return self.model_.config.n_embd

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
