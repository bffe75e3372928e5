"""Classifiers as scikit-learn uses them; what all estimators share is tested here."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.class_weight import compute_class_weight

from estimators.conftest import KINDS, TEXTS
from gpt1 import Classifier, MultipleChoice, PairClassifier, Regressor, Similarity
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.attribution import attribute
from gpt1.evaluation.predicting import predict
from gpt1.tasks.example import text
from gpt1.training.finetune_task import SMALL
from gpt1.training.tracking import LogWatcher, Watcher

New = Callable[..., Classifier]
ALL = (Classifier, PairClassifier, Similarity, MultipleChoice, Regressor)

# ---------------------------------------------------------------- fit, predict, score


@pytest.mark.parametrize(
    ("x", "y", "classes"),
    [
        (TEXTS, KINDS, ["animal", "thing"]),
        (tuple(TEXTS), [kind == "thing" for kind in KINDS], [False, True]),
        (np.array(TEXTS), np.array([10 * (k == "thing") for k in KINDS], np.int8), [0, 10]),
        (pd.Series(TEXTS, index=range(100, 124)), pd.Series(KINDS, dtype="category"), None),
        (pd.DataFrame({"t": TEXTS}), pd.DataFrame({"k": KINDS}), None),
        (pl.Series(TEXTS), pl.Series(KINDS), None),
        (pl.DataFrame({"t": TEXTS}), pl.Series([float(k == "thing") for k in KINDS]), [0.0, 1.0]),
        (np.array(TEXTS)[:, None], np.array(KINDS, object), None),
    ],
    ids=["list", "booleans", "array", "series", "frame", "polars", "polars frame", "column"],
)
def test_it_learns_from_what_users_have_and_answers_in_their_labels(
    new: New, x: Any, y: Any, classes: list[Any] | None
) -> None:
    model = new().fit(x, y)
    assert model.classes_.tolist() == (classes or ["animal", "thing"])
    predicted = model.predict(x)
    assert predicted.dtype == model.classes_.dtype
    assert model.score(x, y) == accuracy_score(np.ravel(y), predicted) == 1.0


def test_probabilities_are_those_of_the_model_in_the_order_of_the_classes(
    fitted: Classifier,
) -> None:
    probabilities = fitted.predict_proba(TEXTS)
    expected = predict(fitted.model_, fitted.tokenizer_, [text(t) for t in TEXTS])
    assert fitted.model_.head.classes == tuple(fitted.classes_)
    np.testing.assert_array_equal(probabilities, expected.probabilities)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (fitted.classes_[probabilities.argmax(axis=1)] == fitted.predict(TEXTS)).all()


def test_no_rows_have_no_predictions(fitted: Classifier) -> None:
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 2)


def test_equal_seeds_give_equal_predictions_and_others_do_not(new: New) -> None:
    one, same, other = (
        new(max_steps=3, seed=seed).fit(TEXTS, KINDS).predict_proba(TEXTS) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_nothing_is_written(new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = new(max_steps=2, validation_fraction=0.25).fit(TEXTS, KINDS)
    model.partial_fit(TEXTS, KINDS).predict(TEXTS)
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_held_out_to_keep_the_best_epoch(new: New) -> None:
    model = new(max_steps=None, epochs=3, validation_fraction=0.25).fit(TEXTS, KINDS)
    result = model.result_
    assert (result.train_examples, result.valid_examples) == (18, 6)
    assert result.step == 6
    assert result.best_step in (2, 4, 6)
    assert 0 <= result.metrics["accuracy"] <= 1
    assert new(max_steps=2).fit(TEXTS, KINDS).result_.valid_examples == 0


def test_parameters_reach_the_training(new: New) -> None:
    model = new(max_steps=None, epochs=2, batch_size=5, micro_batch_size=2, precision="bf16")
    assert model.fit(TEXTS, KINDS).result_.step == 10
    with pytest.raises(ConfigError, match="warmup_fraction is 2 but must be between 0 and 1"):
        new(warmup_fraction=2).fit(TEXTS, KINDS)
    with pytest.raises(ConfigError, match="device 'cuda:77' cannot be used here"):
        new(device="cuda:77").fit(TEXTS, KINDS)
    with pytest.raises(ConfigError, match=r"valid_fraction is 1\.5 but must be between"):
        new(validation_fraction=1.5).fit(TEXTS, KINDS)


def test_a_narrow_model_gets_a_rate_that_suits_it(new: New) -> None:
    given = {"lr": SMALL.lr, "warmup_fraction": SMALL.schedule.warmup_fraction}
    one, other = (
        new(**{"lr": None, **settings}).fit(TEXTS, KINDS).predict_proba(TEXTS)
        for settings in ({}, given)
    )
    np.testing.assert_array_equal(one, other)


def test_progress_is_shown_if_asked_for(new: New, capsys: pytest.CaptureFixture[str]) -> None:
    from gpt1.cli.progress import TrainingProgress

    assert isinstance(new(verbose=True)._watch(), TrainingProgress)
    new(max_steps=2).fit(TEXTS, KINDS)
    assert capsys.readouterr() == ("", "")


def test_an_interrupted_fit_raises_and_fits_nothing(quick: dict[str, Any]) -> None:
    class Interrupting(LogWatcher):
        def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
            signal.raise_signal(signal.SIGINT)

    class Impatient(Classifier):  # type: ignore[misc]
        def _watch(self) -> Watcher:
            return Interrupting()

    model = Impatient(**quick)
    with pytest.raises(KeyboardInterrupt):
        model.fit(TEXTS, KINDS)
    assert not hasattr(model, "model_")


# ---------------------------------------------------------------- as scikit-learn expects it


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_no_attributes_set_in_init,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn_that_need_no_numbers_as_x(estimator: Any, check: Any) -> None:
    check(estimator.__name__, estimator())


def test_an_estimator_before_fit_says_so(new: New) -> None:
    for use in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="This Classifier instance is not fitted yet"):
            getattr(new(), use)(TEXTS)
    for call in (lambda: new().save("x"), lambda: new().explain("x")):
        with pytest.raises(NotFittedError):
            call()


def test_a_copy_has_the_parameters_and_is_not_fitted(fitted: Classifier) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "model_")
    assert repr(Classifier(epochs=1, class_weight="balanced")) == (
        "Classifier(class_weight='balanced', epochs=1)"
    )


@pytest.mark.parametrize("make", [list, pd.Series, pl.Series, np.array])
def test_cross_validation_is_stratified(new: New, make: Any) -> None:
    assert is_classifier(new())
    scores = cross_val_score(new(), make(TEXTS), make(KINDS), cv=2)
    folds = list(StratifiedKFold(2).split(TEXTS, KINDS))
    for score, (train, test) in zip(scores, folds, strict=True):
        model = new().fit([TEXTS[n] for n in train], [KINDS[n] for n in train])
        assert score == model.score([TEXTS[n] for n in test], [KINDS[n] for n in test])


def test_a_grid_is_searched_over_a_pipeline_with_a_metric_of_probabilities(new: New) -> None:
    pipeline = make_pipeline(FunctionTransformer(lambda x: [t.upper() for t in x]), new())
    grid = {"classifier__lr": [0.0, 0.02], "classifier__max_steps": np.array([40])}
    search = GridSearchCV(
        pipeline, grid, cv=2, scoring=["neg_log_loss", "f1_macro"], refit="f1_macro"
    )
    search.fit(pd.Series(TEXTS), KINDS)
    assert search.best_params_["classifier__lr"] == 0.02
    assert search.predict(TEXTS[:2]).tolist() == KINDS[:2]
    assert np.isfinite(search.cv_results_["mean_test_neg_log_loss"]).all()


def test_a_pickled_estimator_predicts_the_same(new: New) -> None:
    model = new(max_steps=2).fit(TEXTS, KINDS).partial_fit(TEXTS, KINDS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))
    again.partial_fit(TEXTS, KINDS)


@pytest.mark.slow
def test_cross_validation_in_two_processes_is_that_in_one(new: New) -> None:
    one = cross_val_score(new(), TEXTS, KINDS, cv=2)
    two = cross_val_score(new(), TEXTS, KINDS, cv=2, n_jobs=2)
    np.testing.assert_array_equal(one, two)


# ---------------------------------------------------------------- weights of classes


def test_balanced_classes_weigh_as_in_scikit_learn(new: New) -> None:
    x, y = TEXTS[:3] + TEXTS[3:6] * 4, [1] * 3 + [0] * 12
    weights = dict(
        zip([0, 1], compute_class_weight("balanced", classes=np.array([0, 1]), y=y), strict=True)
    )
    balanced, given, plain = (
        new(max_steps=3, class_weight=w).fit(x, np.array(y)).predict_proba(x)
        for w in ("balanced", weights, None)
    )
    np.testing.assert_allclose(balanced, given, atol=1e-6)
    assert np.abs(balanced - plain).max() > 1e-3


def test_weights_of_what_is_no_class_are_refused(new: New) -> None:
    with pytest.raises(
        ConfigError, match=r"class_weight names 'plant', .* classes \['animal', 'th"
    ):
        new(class_weight={"plant": 2}).fit(TEXTS, KINDS)
    with pytest.raises(
        ConfigError, match="class_weights is 'even' but must be 'balanced', a weigh"
    ):
        new(class_weight="even").fit(TEXTS, KINDS)
    with pytest.raises(ConfigError, match="class_weight 'balanced' needs all examples at once"):
        new(class_weight="balanced").partial_fit(TEXTS, KINDS, classes=["animal", "thing"])


# ---------------------------------------------------------------- a part at a time


def test_training_goes_on_a_part_at_a_time(new: New) -> None:
    model = new(batch_size=6)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    for part in np.split(np.tile(order, 10), 20):
        model.partial_fit(
            [TEXTS[n] for n in part], [KINDS[n] for n in part], classes=["thing", "animal"]
        )
    assert model.classes_.tolist() == ["animal", "thing"]
    assert model.partial_fits_ == 20
    assert model.score(TEXTS, KINDS) == 1.0


def test_a_fitted_model_goes_on_from_its_weights(new: New) -> None:
    model = new(max_steps=2, lr=1e-6).fit(TEXTS, KINDS)
    before = model.predict_proba(TEXTS)
    model.partial_fit(TEXTS[:3], KINDS[:3])
    after = model.predict_proba(TEXTS)
    assert (before != after).any()
    np.testing.assert_allclose(before, after, atol=1e-3)
    assert not hasattr(model.fit(TEXTS, KINDS), "partial_fits_")
    np.testing.assert_array_equal(model.predict_proba(TEXTS), before)


def test_classes_are_named_once_and_stay(new: New) -> None:
    with pytest.raises(ConfigError, match="classes is None, but the first call of partial_fit"):
        new().partial_fit(TEXTS, KINDS)
    model = new().partial_fit(TEXTS[:2], KINDS[:2], classes=["animal", "plant", "thing"])
    with pytest.raises(ConfigError, match=r"classes is \['a', 'b'\] but was \['animal', 'plant', "):
        model.partial_fit(TEXTS, KINDS, classes=["a", "b"])
    with pytest.raises(DataError, match=r"y holds 'stone', which is none of the classes \['animal"):
        model.partial_fit(TEXTS[:1], ["stone"])


# ---------------------------------------------------------------- labels that cannot be


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (KINDS[:-1], "X has 24 rows but y has 23 labels; they must be as many"),
        (None, "y is None, but there is nothing to learn without labels"),
        ([*KINDS[:-1], None], r"y\[23\] is None but must be a string or a number"),
        ([*range(23), float("nan")], r"y\[23\] is nan but must be a string or a number"),
        (pd.Series([*KINDS[:-1], pd.NA]), r"y\[23\] is \S+ but must be a string or a number"),
        ([*KINDS[:-1], 3], "y mixes numbers and strings; classes must be of one kind"),
        ([0.5] * 24, "y holds 0.5, which is a value and no class; predict values of texts with Re"),
        (["animal"] * 24, "every example has the label 'animal'; there is nothing to tell apart"),
        (np.zeros((24, 2)), "y has 2 columns but must be one label a row"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(new: New, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        new().fit(TEXTS, y)


def test_no_rows_cannot_be_learned(new: New) -> None:
    with pytest.raises(DataError, match="X has no rows; there is nothing to learn from"):
        new().fit([], [])


# ---------------------------------------------------------------- explanations and features


def test_an_explanation_is_that_of_the_model_in_the_labels_of_the_user(
    new: New, fitted: Classifier
) -> None:
    found = fitted.explain(TEXTS[0])
    assert found.words == attribute(fitted.model_, fitted.tokenizer_, text(TEXTS[0])).words
    assert (found.prediction, found.label) == ("animal", "animal")
    assert {word.text: word.score for word in found}["cat"] > 0
    flags = new().fit(TEXTS, [kind == "thing" for kind in KINDS])
    told = flags.explain(TEXTS[0], label=True, method="gradient")
    assert told.prediction is False
    assert told.label is True
    with pytest.raises(
        ConfigError, match=r"label is 'plant' but must be one of \['animal', 'thing"
    ):
        fitted.explain(TEXTS[0], label="plant")


def test_features_are_of_the_model_before_and_after_fit(new: New, fitted: Classifier) -> None:
    before, after = new().features(TEXTS, "mean"), fitted.features(TEXTS, "mean")
    assert before.shape == after.shape == (24, 16)
    assert (before != after).any()
    logits = fitted.features(TEXTS, "extract") @ fitted.model_.score.weight.detach().numpy().T
    assert (fitted.classes_[logits.argmax(axis=1)] == fitted.predict(TEXTS)).all()
    with pytest.raises(NotFittedError):
        new().features(TEXTS, "extract")
