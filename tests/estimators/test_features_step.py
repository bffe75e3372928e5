"""Vectors as a step of a pipeline, the examples of the docstrings, and real reviews."""

from __future__ import annotations

import doctest
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from estimators.conftest import KINDS, TEXTS
from gpt1 import Classifier, Features, MultipleChoice, PairClassifier, Regressor, Similarity
from gpt1.errors import ConfigError, DataError


def test_features_are_a_step_before_a_linear_model(base: Path) -> None:
    model = make_pipeline(Features(str(base)), LogisticRegression(C=1e4, max_iter=2000))
    assert model.fit(TEXTS, KINDS).score(TEXTS, KINDS) > 0.9
    assert cross_val_score(model, TEXTS, KINDS, cv=2).shape == (2,)


def test_a_step_has_the_vectors_of_the_estimator_and_names_for_them(base: Path) -> None:
    step = Features(str(base), pooling="last").fit(TEXTS)
    np.testing.assert_array_equal(
        step.transform(TEXTS), Classifier(str(base)).features(TEXTS, "last")
    )
    assert step.get_feature_names_out()[[0, -1]].tolist() == ["features0", "features15"]
    assert clone(step).get_params() == step.get_params()
    assert step.set_output(transform="pandas").transform(TEXTS).shape == (24, 16)


def test_a_fine_tuned_model_has_features_too(fitted: Classifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    found = Features(str(tmp_path / "model"), pooling="extract").fit(TEXTS).transform(TEXTS)
    np.testing.assert_allclose(found, fitted.features(TEXTS, "extract"), atol=1e-6)


def test_features_that_cannot_be_are_refused(base: Path) -> None:
    with pytest.raises(NotFittedError):
        Features(str(base)).transform(TEXTS)
    with pytest.raises(ConfigError, match="pooling is 'max' but must be one of"):
        Features(str(base), pooling="max").fit(TEXTS).transform(TEXTS)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="X is one str"):
        Features(str(base)).fit("a text")


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn(check: object) -> None:
    check("Features", Features())  # type: ignore[operator]


@pytest.mark.parametrize(
    "estimator", [Classifier, Features, MultipleChoice, PairClassifier, Regressor, Similarity]
)
def test_the_example_of_a_docstring_runs(estimator: type) -> None:
    [example] = doctest.DocTestFinder(recurse=False).find(estimator, estimator.__name__)
    assert example.examples
    results = doctest.DocTestRunner().run(example)
    assert results.failed == 0


def test_mini_learns_from_real_reviews(shared_data: Path) -> None:
    with gzip.open(
        shared_data / "tasks" / "sst2" / "train.jsonl.gz", "rt", encoding="utf-8"
    ) as file:
        rows = [json.loads(line) for line in file]
    rows = [row for row in rows if len(row["sentence"]) < 40][:64]
    x, y = [row["sentence"] for row in rows], [row["label"] for row in rows]
    model = Classifier(lr=1e-3, max_steps=32, batch_size=16).fit(x, y)
    assert model.classes_.tolist() == [0, 1]
    assert model.score(x, y) > 0.8


def test_without_scikit_learn_the_message_says_what_to_install() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['sklearn'] = None\n"
            "import gpt1\n"
            "try: gpt1.Classifier\n"
            "except gpt1.errors.MissingExtraError as error: print(error)",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == 'estimators need scikit-learn: pip install "gpt1[tasks]"\n', done.stderr
