"""What the labels of examples mean: classes, values or choices. The data decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.config import HeadConfig
from gpt1.errors import DataError
from gpt1.tasks.example import Example, Label


def infer_head(
    examples: Sequence[Example], *, classes: Sequence[str] = (), task: str = ""
) -> HeadConfig:
    """The head that labelled examples need.

    Args:
        examples: To train on, all of one layout.
        classes: Names of the classes in their order. Default: those of the examples, sorted, whole
            numbers by size.
        task: Name of the task.

    Returns:
        A head for choices if the examples are choices, for values if the labels are floats, else
        for classes.

    Raises:
        DataError: If there is no example, their layouts or kinds of labels differ, a label is
            missing, or all are the same.
    """
    layouts = sorted({example.layout for example in examples})
    if len(layouts) != 1:
        found = " and ".join(layouts) or "none"
        raise DataError(f"the examples must be of one layout, but there are: {found}")
    labels = [example.label for example in examples]
    if None in labels:
        raise DataError(
            f"example {labels.index(None)} has no label; leave out examples without one to train"
        )
    layout: Any = layouts[0]
    if layout == "choice":
        return HeadConfig(layout=layout, task=task)
    if any(isinstance(label, float) for label in labels):
        return _value_head(layout, labels, task)
    names = tuple(classes) or tuple(map(str, sorted(set(labels), key=_class_order)))
    if len(names) < 2:
        raise DataError(f"every example has the label {names[0]!r}; there is nothing to tell apart")
    return HeadConfig(layout=layout, classes=names, task=task)


def _class_order(label: Any) -> tuple[bool, int, str]:
    """Numbers by size, then names by letter."""
    text = str(label)
    is_number = text.removeprefix("-").isdecimal()
    return not is_number, int(text) if is_number else 0, text


def _value_head(layout: Any, labels: Sequence[Any], task: str) -> HeadConfig:
    values = np.array(labels, np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"a label is {values[~np.isfinite(values)][0]}, not a finite number")
    if not values.std() > 0:
        raise DataError(f"every example has the value {values[0]:g}; there is nothing to predict")
    mean, std = float(values.mean()), float(values.std())
    return HeadConfig(layout=layout, label_mean=mean, label_std=std, task=task)


def default_metrics(head: HeadConfig) -> tuple[str, ...]:
    """What a task without metrics of its own is judged by; the first picks the checkpoint."""
    return ("pearson", "spearman") if head.kind == "value" else ("accuracy",)


def encode_labels(labels: Sequence[Label | None], head: HeadConfig) -> NDArray[Any]:
    """Labels as the loss wants them.

    Args:
        labels: One an example.
        head: What they mean.

    Returns:
        ``(N,)``: int64 numbers of classes or options, or float32 standardised values.

    Raises:
        DataError: If a label is missing, or is a class the head does not know.
    """
    if None in labels:
        raise DataError(f"example {list(labels).index(None)} has no label")
    if head.kind == "value":
        return ((np.array(labels, np.float64) - head.label_mean) / head.label_std).astype(
            np.float32
        )
    if head.kind == "choice":
        return np.array(labels, np.int64)
    numbers = {name: number for number, name in enumerate(head.classes)}
    unknown = sorted({str(label) for label in labels} - set(numbers))
    if unknown:
        raise DataError(
            f"the label {unknown[0]!r} is none of the classes {', '.join(head.classes)}"
        )
    return np.array([numbers[str(label)] for label in labels], np.int64)
