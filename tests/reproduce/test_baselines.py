"""Baselines, against scikit-learn called by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from gpt1.reproduce.baselines import baseline_scores
from gpt1.tasks.example import pair, similarity, text
from gpt1.tasks.task import get_task

TRAIN = [text(f"a {word} film", kind) for word, kind in [("good", "positive"), ("bad", "negative")]]
TRAIN += [text("a fine day", "positive"), text("good and fine", "positive")]
DEV = [text("a good day", "positive"), text("bad bad bad", "negative"), text("day", "negative")]


def test_tfidf_is_what_scikit_learn_makes_of_the_same_texts() -> None:
    vectors = TfidfVectorizer()
    table = vectors.fit_transform([e.segments[0][0] for e in TRAIN])
    model = LogisticRegression(max_iter=1000).fit(table, [e.label for e in TRAIN])
    theirs = model.predict(vectors.transform([e.segments[0][0] for e in DEV]))
    found = baseline_scores("tfidf", get_task("sst2"), TRAIN, {"dev": DEV, "test": DEV[:1]})
    assert found["dev:accuracy"] == accuracy_score([e.label for e in DEV], theirs)
    assert "test:accuracy" in found


def test_the_most_frequent_answer_is_scikit_learns() -> None:
    labels = ["1", "1", "0", "1", "0"]
    train = [similarity("a", "b", label) for label in labels]
    dummy = DummyClassifier().fit(np.zeros((5, 1)), labels)
    predicted = [int(x) for x in dummy.predict(np.zeros((5, 1)))]
    task = get_task("mrpc")
    named = [similarity("a", "b", task.classes[int(e.label or 0)]) for e in train]
    found = baseline_scores("majority", task, named, {"dev": named})
    assert found["dev:f1"] == pytest.approx(f1_score(list(map(int, labels)), predicted))


def test_the_mean_value_correlates_with_nothing() -> None:
    values = [similarity("a", "b", value) for value in (1.0, 2.0, 4.5)]
    assert baseline_scores("majority", get_task("stsb"), values, {"dev": values}) == {
        "dev:pearson": 0.0,
        "dev:spearman": 0.0,
    }


def test_tfidf_does_not_take_pairs() -> None:
    pairs = [pair("a", "b", "entailment"), pair("a", "c", "not_entailment")]
    assert baseline_scores("tfidf", get_task("rte"), pairs, {"dev": pairs}) == {}
