"""Labels as users write them, and as examples hold them: names of classes, values, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.predicting import Predictions
from gpt1.tasks.example import Example, Label

Kind: TypeAlias = Literal["class", "value", "choice"]
"""What is predicted, as `gpt1.config.HeadConfig.kind`."""

Classes: TypeAlias = "NDArray[Any] | None"
"""Classes as users write them, in the order of the outputs; None for values."""


def find_classes(labels: Sequence[Any]) -> NDArray[Any]:
    """The classes among labels, sorted, of their own type.

    Raises:
        DataError: If strings, booleans and numbers are mixed, or a number has a fraction.
    """
    kinds = sorted({_kind(label) for label in labels})
    if len(kinds) > 1:
        raise DataError(
            f"y mixes {' and '.join(kinds)}; classes must be of one kind, so convert them"
        )
    fraction = next((n for n in labels if isinstance(n, float) and n % 1), None)
    if fraction is not None:
        raise DataError(
            f"y holds {fraction}, which is a value and no class; predict values of texts with "
            "Regressor, of pairs with Similarity"
        )
    return np.unique(np.array(labels))


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "strings"
    return "booleans" if isinstance(label, bool) else "numbers"


def class_names(classes: Classes) -> tuple[str, ...]:
    """What the head of a model calls classes; empty where there are none."""
    return () if classes is None else tuple(map(str, classes.tolist()))


def encode(labels: Sequence[Any], kind: Kind, classes: Classes) -> list[Label]:
    """Labels as examples hold them.

    Args:
        labels: As users write them.
        kind: What they are.
        classes: Known classes, if they are classes.

    Raises:
        DataError: If one is no such class, no number, or no number of an option.
    """
    if classes is not None and kind == "class":
        known = dict(zip(classes.tolist(), class_names(classes), strict=True))
        unknown = next((label for label in labels if label not in known), None)
        if unknown is not None:
            raise DataError(f"y holds {unknown!r}, which is none of the classes {list(known)}")
        return [known[label] for label in labels]
    odd = next((label for label in labels if isinstance(label, str)), None)
    if odd is not None:
        what = "the number of the right option, from 0" if kind == "choice" else "a number"
        raise DataError(f"y holds {odd!r} but must be {what}")
    if kind == "value":
        return [float(label) for label in labels]
    fraction = next((label for label in labels if label % 1), None)
    if fraction is not None:
        raise DataError(f"y holds {fraction} but must be the number of the right option, from 0")
    return [int(label) for label in labels]


def labelled(examples: Sequence[Example], known: Sequence[Any]) -> list[Example]:
    """Examples with their labels, from `encode`.

    Raises:
        DataError: If there is no option with a number.
    """
    return [
        _with_label(example, label, row)
        for row, (example, label) in enumerate(zip(examples, known, strict=True))
    ]


def _with_label(example: Example, label: Any, row: int) -> Example:
    options = len(example.segments) - 1
    if example.layout == "choice" and not 0 <= label < options:
        raise DataError(f"y[{row}] is {label} but X[{row}] has {options} options, numbered from 0")
    return replace(example, label=label)


def decode(predictions: Predictions, classes: Classes) -> NDArray[Any]:
    """Predictions as users write labels, ``(N,)``."""
    kind = predictions.head.kind
    if kind == "value":
        return predictions.values
    return classes[predictions.numbers] if kind == "class" else predictions.numbers  # type: ignore[index]


def named_weights(weights: Any, classes: Classes) -> dict[str, float] | Literal["balanced"] | None:
    """Weights of classes by the names of the head.

    Args:
        weights: None, "balanced", or a mapping from classes as users write them.
        classes: In the order of the outputs.

    Raises:
        ConfigError: If a class is not known.
    """
    if not isinstance(weights, dict) or classes is None:
        return weights  # type: ignore[no-any-return]
    known = dict(zip(classes.tolist(), class_names(classes), strict=True))
    unknown = [label for label in weights if label not in known]
    if unknown:
        raise ConfigError(
            f"class_weight names {unknown[0]!r}, which is none of the classes {list(known)}"
        )
    return {known[label]: float(weight) for label, weight in weights.items()}
