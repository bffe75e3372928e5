"""The data decides whether labels are classes, values or choices."""

from __future__ import annotations

import numpy as np
import pytest

from gpt1.errors import DataError
from gpt1.tasks.example import Example, Label, choice, pair, text
from gpt1.tasks.labels import encode_labels, infer_head


def labelled(*labels: Label | None) -> list[Example]:
    return [text("a", label) for label in labels]


def test_strings_and_whole_numbers_are_classes_in_order() -> None:
    assert infer_head(labelled("dog", "cat", "dog")).classes == ("cat", "dog")
    assert infer_head(labelled(10, 2, 2)).classes == ("2", "10")
    assert infer_head(labelled("b", "a"), classes=("b", "a")).classes == ("b", "a")
    assert infer_head(labelled("b", "a")).kind == "class"


def test_floats_are_values_with_their_mean_and_spread() -> None:
    head = infer_head(labelled(1.0, 2.0, 6.0))
    assert head.kind == "value"
    assert head.label_mean == pytest.approx(3.0)
    assert head.label_std == pytest.approx(np.std([1, 2, 6]))
    assert head.n_outputs == 1


def test_choices_need_no_classes() -> None:
    head = infer_head([choice("a", ["b", "c"], 1)], task="mine")
    assert (head.kind, head.n_outputs, head.task) == ("choice", 1, "mine")


def test_labels_become_numbers_or_standardised_values() -> None:
    head = infer_head(labelled("dog", "cat"))
    assert encode_labels(["dog", "cat"], head).tolist() == [1, 0]
    head = infer_head(labelled(1.0, 3.0))
    assert encode_labels([1.0, 3.0, 5.0], head).tolist() == [-1.0, 1.0, 3.0]
    head = infer_head([choice("a", ["b", "c"], 1)])
    assert encode_labels([1, 0], head).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "of one layout, but there are: none"),
        ([text("a", 1), pair("a", "b", 1)], "of one layout, but there are: pair and text"),
        (labelled("a", None), "example 1 has no label"),
        (labelled("a", "a"), "every example has the label 'a'; there is nothing to tell apart"),
        (labelled(2.0, 2.0), "every example has the value 2; there is nothing to predict"),
        (labelled(2.0, float("nan")), "a label is nan, not a finite number"),
    ],
)
def test_labels_nothing_can_be_learned_from_are_refused(
    examples: list[Example], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        infer_head(examples)


def test_labels_a_head_does_not_know_are_refused() -> None:
    head = infer_head(labelled("dog", "cat"))
    with pytest.raises(DataError, match="the label 'cow' is none of the classes cat, dog"):
        encode_labels(["dog", "cow"], head)
    with pytest.raises(DataError, match="example 1 has no label"):
        encode_labels(["dog", None], head)
