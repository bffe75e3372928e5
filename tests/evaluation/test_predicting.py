"""Predictions: probabilities, values and labels, whatever else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import pearsonr

from gpt1.config import GPTConfig, HeadConfig
from gpt1.evaluation import predicting
from gpt1.evaluation.predicting import Predictions, judge, predict
from gpt1.model import GPT
from gpt1.task_model import TaskModel
from gpt1.tasks.example import Example, choice, text
from tasks.worlds import examples, new_tokenizer

TOKENIZER = new_tokenizer()


def new_model(head: HeadConfig) -> TaskModel:
    config = GPTConfig(
        vocab_size=TOKENIZER.vocab_size, n_positions=64, n_embd=16, n_layer=1, n_head=2
    )
    backbone = GPT(config.replace(initializer_range=0.3))
    backbone.reset_parameters(torch.Generator().manual_seed(0))
    return TaskModel(backbone, head)


CLASSES = HeadConfig(layout="text", classes=("a", "b", "c"))
CHOICES = HeadConfig(layout="choice")


def test_classes_have_probabilities_and_names() -> None:
    logits = np.array([[0.0, 2.0, -1.0], [5.0, 0.0, 0.0]])
    predictions = Predictions(CLASSES, logits)
    np.testing.assert_allclose(predictions.probabilities, softmax(logits, axis=1))
    assert predictions.labels == ["b", "a"]
    assert len(predictions) == 2


def test_values_are_in_the_units_of_the_training_data() -> None:
    head = HeadConfig(layout="text", label_mean=3.0, label_std=2.0)
    predictions = Predictions(head, np.array([[0.0], [1.5]]))
    assert predictions.labels == [3.0, 6.0]


def test_options_that_are_not_there_have_probability_0() -> None:
    predictions = Predictions(CHOICES, np.array([[1.0, 1.0, -np.inf]]))
    assert predictions.probabilities.tolist() == [[0.5, 0.5, 0.0]]
    assert predictions.labels == [0]


@settings(max_examples=20, deadline=None)
@given(items=st.lists(examples(), min_size=1, max_size=8), most=st.integers(1, 100))
def test_predictions_depend_neither_on_the_batch_nor_on_its_size(
    items: list[Example], most: int
) -> None:
    items = [item for item in items if item.layout == items[0].layout]
    head = CHOICES if items[0].layout == "choice" else CLASSES
    model = new_model(head)
    alone = [predict(model, TOKENIZER, [item]).logits[0] for item in items]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "BATCH_TOKENS", most)
        together = predict(model, TOKENIZER, items).logits
    for row, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(row[: len(expected)], expected, atol=1e-5)
        assert (row[len(expected) :] == -np.inf).all()


def test_a_model_in_training_goes_on_in_training() -> None:
    model = new_model(CLASSES).train()
    predict(model, TOKENIZER, [text("a")])
    assert model.training


def test_no_example_gives_no_prediction() -> None:
    assert len(predict(new_model(CLASSES), TOKENIZER, [])) == 0
    assert predict(new_model(CHOICES), TOKENIZER, [choice("a", ["b", "c"])]).logits.shape == (1, 2)


def test_values_are_judged_in_the_units_of_the_data() -> None:
    head = HeadConfig(layout="text", label_mean=2.0, label_std=0.5)
    predictions = Predictions(head, np.array([[0.0], [1.0], [2.0]]))
    labels = np.array([0.5, 0.0, 2.0], np.float32)
    figures = judge(predictions, labels, ("pearson",))
    assert figures["pearson"] == pytest.approx(pearsonr([2.25, 2.0, 3.0], [2.0, 2.5, 3.0])[0])
    assert figures["valid_loss"] == pytest.approx((0.25 + 1 + 0) / 3)


def test_the_loss_of_classes_is_their_cross_entropy() -> None:
    head = HeadConfig(layout="text", classes=("a", "b"))
    predictions = Predictions(head, np.log([[0.5, 0.5], [0.2, 0.8]]))
    figures = judge(predictions, np.array([0, 0]), ("accuracy",))
    assert figures["valid_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.2)) / 2)


def test_a_record_has_the_prediction_and_the_probabilities() -> None:
    [record] = Predictions(CLASSES, np.log([[0.5, 0.3, 0.2]])).records()
    assert record["prediction"] == "a"
    assert record["probabilities"] == pytest.approx({"a": 0.5, "b": 0.3, "c": 0.2})
    [record] = Predictions(CHOICES, np.array([[0.0, 0.0, -np.inf]])).records()
    assert record == {"prediction": 0, "probabilities": [0.5, 0.5]}
    head = HeadConfig(layout="text", label_mean=3.0)
    assert list(Predictions(head, np.array([[1.0]])).records()) == [{"prediction": 4.0}]
