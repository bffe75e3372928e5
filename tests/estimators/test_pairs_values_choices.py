"""Estimators of pairs, similarities, choices and values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import cross_val_score

from estimators.conftest import ANIMALS, KINDS, TEXTS, THINGS
from gpt1 import MultipleChoice, PairClassifier, Regressor, Similarity
from gpt1.errors import ConfigError, DataError

Params = dict[str, Any]
NOUNS = (*ANIMALS, *THINGS)
PAIRS = [(f"the {one}", f"old {other}") for one in NOUNS for other in NOUNS]
ALIKE = [one == other for one in NOUNS for other in NOUNS]
FIRST_IS_ANIMAL = [one in ANIMALS for one in NOUNS for other in NOUNS]
ANIMALS_IN_PAIR = [float((one in ANIMALS) + (other in ANIMALS)) for one in NOUNS for other in NOUNS]
CHOICES = [
    ("the red", [a, b, c][:n])
    for n in (2, 3)
    for a, b, c in (("cat", "sea", "hat"), ("car", "dog", "hat"), ("fox", "hat", "sea"))
]
RIGHT = [0, 1, 0] * 2
VALUES = np.array([float(len(t)) + 10 * (k == "animal") for t, k in zip(TEXTS, KINDS, strict=True)])

# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize(
    "make",
    [
        list,
        np.array,
        lambda rows: pd.DataFrame(rows, columns=["first", "second"]),
        lambda rows: pl.DataFrame(rows, schema=["first", "second"], orient="row"),
        lambda rows: [list(row) for row in rows],
    ],
    ids=["list", "array", "pandas", "polars", "lists"],
)
def test_pairs_are_learned_in_their_order(quick: Params, make: Any) -> None:
    model = PairClassifier(**quick).fit(make(PAIRS), FIRST_IS_ANIMAL)
    assert model.score(make(PAIRS), FIRST_IS_ANIMAL) == 1.0
    assert model.predict(make(PAIRS)).dtype == bool
    swapped = model.predict_proba([(b, a) for a, b in PAIRS])
    assert (swapped != model.predict_proba(PAIRS)).any()
    assert [word.place.segment for word in model.explain(PAIRS[0])] == [0, 0, 1, 1]


# ---------------------------------------------------------------- similarities


def test_similarities_do_not_depend_on_the_order(quick: Params) -> None:
    model = Similarity(**{**quick, "max_steps": 3}).fit(PAIRS, ALIKE)
    assert is_classifier(model)
    one, other = (model.predict_proba(rows) for rows in (PAIRS, [(b, a) for a, b in PAIRS]))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert model.score(PAIRS, ALIKE) == accuracy_score(ALIKE, model.predict(PAIRS))


def test_floats_are_values_to_predict(quick: Params) -> None:
    values = ANIMALS_IN_PAIR
    model = Similarity(**quick).fit(PAIRS, values)
    predicted = model.predict(PAIRS)
    assert predicted.dtype == np.float64
    assert model.score(PAIRS, values) == pytest.approx(r2_score(values, predicted))
    assert model.score(PAIRS, values) > 0.5
    assert is_regressor(model)
    assert not is_classifier(model)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "classes_")
    found = model.explain(PAIRS[0])
    assert found.label is None
    assert found.figure == pytest.approx(predicted[0])
    with pytest.raises(ConfigError, match="class_weights is 'balanced' but this task has no"):
        Similarity(**quick, class_weight="balanced").fit(PAIRS, values)


def test_values_and_then_classes_can_be_fitted(quick: Params) -> None:
    model = Similarity(**{**quick, "max_steps": 1}).fit(PAIRS, [0.5, 1.5] * 18)
    model.fit(PAIRS, ALIKE)
    assert model.predict_proba(PAIRS).shape == (36, 2)
    assert not hasattr(model.fit(PAIRS, [0.5, 1.5] * 18), "classes_")


# ---------------------------------------------------------------- choices


def as_rows(choices: list[tuple[str, list[str]]]) -> list[dict[str, Any]]:
    return [{"context": context, "options": options} for context, options in choices]


def as_columns(choices: list[tuple[str, list[str]]]) -> dict[str, list[Any]]:
    numbers = range(3)
    return {
        "question": [context for context, _ in choices],
        **{f"option{n}": [o[n] if n < len(o) else None for _, o in choices] for n in numbers},
    }


@pytest.mark.parametrize(
    "make",
    [
        list,
        as_rows,
        lambda rows: pd.DataFrame(as_rows(rows)),
        lambda rows: pl.DataFrame(as_rows(rows)),
        lambda rows: pd.DataFrame(as_columns(rows)),
        lambda rows: pl.DataFrame(as_columns(rows)),
        lambda rows: [((context[:3], context[3:]), tuple(options)) for context, options in rows],
    ],
    ids=["list", "dicts", "pandas", "polars", "pandas columns", "polars columns", "two parts"],
)
def test_choices_are_learned_from_what_users_have(quick: Params, make: Any) -> None:
    x = make(CHOICES)
    model = MultipleChoice(**quick).fit(x, pd.Series(RIGHT))
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.predict(x).tolist() == RIGHT
    assert model.score(x, RIGHT) == 1.0
    probabilities = model.predict_proba(x)
    assert (probabilities[:3, 2] == 0).all()
    assert (probabilities[3:] > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_choices_are_cross_validated_and_explained(quick: Params) -> None:
    scores = cross_val_score(MultipleChoice(**quick), CHOICES * 2, RIGHT * 2, cv=2)
    assert scores.shape == (2,)
    model = MultipleChoice(**quick).fit(CHOICES, RIGHT)
    assert log_loss(RIGHT, model.predict_proba(CHOICES), labels=model.classes_) < 0.7
    found = model.explain(CHOICES[1])
    assert found.label == found.prediction == 1
    assert [word.text for word in found] == ["the", "red", "car", "dog"]
    assert model.explain({"context": "the red", "options": ["cat", "sea"]}, label=1).label == 1


def test_choices_go_on_a_part_at_a_time(quick: Params) -> None:
    model = MultipleChoice(**quick)
    for _ in range(3):
        model.partial_fit(CHOICES[:3], RIGHT[:3])
        assert model.classes_.tolist() == [0, 1]
    assert model.partial_fit(CHOICES, RIGHT).classes_.tolist() == [0, 1, 2]
    assert model.partial_fit(CHOICES[:3], RIGHT[:3]).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 2], r"y\[2\] is 2 but X\[2\] has 2 options, numbered from 0"),
        ([0, 1, -1], r"y\[2\] is -1 but X\[2\] has 2 options"),
        ([0, 1, 0.5], "y holds 0.5 but must be the number of the right option, from 0"),
        (["cat", "dog", "fox"], "y holds 'cat' but must be the number of the right option, from 0"),
    ],
)
def test_labels_of_choices_are_numbers_of_options(quick: Params, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MultipleChoice(**quick).fit(CHOICES[:3], y)


def test_choices_have_no_features(quick: Params) -> None:
    with pytest.raises(ConfigError, match="a choice has a vector for each option"):
        MultipleChoice(**quick).features(CHOICES)


# ---------------------------------------------------------------- values of texts


def test_values_of_texts_are_learned(quick: Params) -> None:
    model = Regressor(**quick).fit(TEXTS, VALUES)
    predicted = model.predict(TEXTS)
    assert model.score(TEXTS, VALUES) == pytest.approx(r2_score(VALUES, predicted))
    assert model.score(TEXTS, VALUES) > 0.8
    assert is_regressor(model)
    assert not hasattr(model, "predict_proba")
    for word in model.explain(TEXTS[0]):
        rest = " ".join(other for other in TEXTS[0].split() if other != word.text)
        whole, without = model.predict([TEXTS[0], rest])
        assert word.score == pytest.approx(whole - without, abs=1e-3)


def test_whole_numbers_are_values_too_and_scale_from_the_first_part(quick: Params) -> None:
    model = Regressor(**quick).partial_fit(TEXTS, VALUES.astype(int))
    head = model.model_.head
    assert head.label_mean == pytest.approx(VALUES.mean())
    model.partial_fit(TEXTS[:2], [1000, 2000])
    assert model.model_.head == head


def test_what_is_no_value_is_refused(quick: Params) -> None:
    with pytest.raises(DataError, match="y holds 'animal' but must be a number"):
        Regressor(**quick).fit(TEXTS, KINDS)
    with pytest.raises(DataError, match=r"y\[0\] is nan but must be a string or a number"):
        Regressor(**quick).fit(TEXTS[:1], [float("nan")])
