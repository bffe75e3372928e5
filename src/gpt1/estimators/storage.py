"""``estimator.json``: what of an estimator is not in its model, as plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpt1.config import HeadConfig
from gpt1.errors import CheckpointError
from gpt1.estimators.targets import Classes, class_names
from gpt1.hf_config import read_json

FILE = "estimator.json"

ESTIMATORS = {
    ("text", "class"): "Classifier",
    ("text", "value"): "Regressor",
    ("pair", "class"): "PairClassifier",
    ("similarity", "class"): "Similarity",
    ("similarity", "value"): "Similarity",
    ("choice", "choice"): "MultipleChoice",
}
"""Which estimator a model is for, by its layout and what it predicts."""


@dataclass(frozen=True)
class Stored:
    """What is stored.

    Attributes:
        name: Of the class of the estimator.
        params: Its parameters.
        classes: As the user wrote them, in the order of the outputs.
    """

    name: str
    params: dict[str, Any]
    classes: Classes


def written(stored: Stored) -> str:
    """The file."""
    params = dict(stored.params)
    weights = params.get("class_weight")
    if isinstance(weights, dict):  # JSON has only strings for keys
        params["class_weight"] = [[_plain(label), weight] for label, weight in weights.items()]
    params = {name: _plain(value) for name, value in params.items()}
    classes = stored.classes
    data = {
        "estimator": stored.name,
        "params": params,
        "classes": None
        if classes is None
        else {"dtype": classes.dtype.str, "values": classes.tolist()},
    }
    return json.dumps(data, indent=2, default=str) + "\n"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def read(folder: Path, head: HeadConfig, name: str) -> Stored:
    """Read the file, or tell from the head what it would hold.

    Args:
        folder: Of the model.
        head: Of the model.
        name: The class of the estimator that is to be made.

    Raises:
        CheckpointError: If the model is for another estimator, or the file does not fit it.
    """
    right = ESTIMATORS.get((head.layout, head.kind))
    if right is None:
        raise CheckpointError(
            f"{folder} predicts a value of an ordered pair, which no estimator does; use gpt1 "
            "evaluate task, or train with --layout similarity"
        )
    if right != name:
        raise CheckpointError(
            f"{folder} holds a model for {right}, not for {name}; call gpt1.{right}.load"
        )
    if not (folder / FILE).is_file():
        return Stored(name, {}, _classes_of(head))
    try:
        return _parsed(read_json(folder / FILE), head)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / FILE} does not fit the model beside it ({error}); delete it to load the "
            "model with default parameters"
        ) from error


def _parsed(data: dict[str, Any], head: HeadConfig) -> Stored:
    params = dict(data["params"])
    if isinstance(params.get("class_weight"), list):
        params["class_weight"] = dict(params["class_weight"])
    stored = data["classes"]
    classes = None if stored is None else np.array(stored["values"], np.dtype(stored["dtype"]))
    if head.kind == "class" and class_names(classes) != head.classes:
        raise ValueError(f"it has the classes {class_names(classes)}, the model {head.classes}")
    return Stored(data["estimator"], params, classes)


def _classes_of(head: HeadConfig) -> Classes:
    """Classes of a model that was not trained by an estimator."""
    if not head.classes:
        return None
    if all(name.removeprefix("-").isdecimal() for name in head.classes):
        return np.array([int(name) for name in head.classes])
    return np.array(head.classes)
