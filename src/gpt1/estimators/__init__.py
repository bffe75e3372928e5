"""Labelled tasks as scikit-learn estimators."""

from __future__ import annotations

from gpt1.estimators.classifiers import Classifier, PairClassifier
from gpt1.estimators.features import Features
from gpt1.estimators.multiple_choice import MultipleChoice
from gpt1.estimators.regressor import Regressor
from gpt1.estimators.similarity import Similarity

__all__ = [
    "Classifier",
    "Features",
    "MultipleChoice",
    "PairClassifier",
    "Regressor",
    "Similarity",
]
