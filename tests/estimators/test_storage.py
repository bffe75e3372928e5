"""Estimators in folders: what is written, what is read, and what does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estimators.conftest import KINDS, TEXTS
from gpt1 import Classifier, MultipleChoice, PairClassifier, Regressor, Similarity
from gpt1.config import HeadConfig, TaskConfig, TrainingConfig
from gpt1.errors import CheckpointError
from gpt1.task_checkpoint import save_task_model
from gpt1.training.finetune_task import new_task_model

New = Callable[..., Classifier]


@pytest.mark.parametrize(
    "y",
    [
        KINDS,
        [kind == "thing" for kind in KINDS],
        np.array([3 * (kind == "thing") for kind in KINDS], np.int16),
        [float(kind == "thing") for kind in KINDS],
    ],
    ids=["strings", "booleans", "integers", "floats"],
)
def test_a_folder_gives_the_estimator_back(new: New, tmp_path: Path, y: Any) -> None:
    model = new(max_steps=2, class_weight={y[0]: 2.0}).fit(TEXTS, y)
    model.save(tmp_path / "model")
    again = Classifier.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.classes_, model.classes_)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))
    assert again.partial_fit(TEXTS, y).fit(TEXTS, y).score(TEXTS, y) >= 0


def test_nothing_in_a_folder_is_a_pickle(fitted: Classifier, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    kinds = {file.suffix for file in (tmp_path / "model").iterdir()}
    assert kinds <= {".json", ".safetensors", ".txt"}
    stored = json.loads((tmp_path / "model" / "estimator.json").read_text(encoding="utf-8"))
    assert stored["estimator"] == "Classifier"
    assert stored["classes"] == {"dtype": "<U6", "values": ["animal", "thing"]}


@pytest.mark.parametrize(
    ("estimator", "x", "y"),
    [
        (Regressor, TEXTS[:4], [1.0, 2.0, 3.0, 4.0]),
        (Similarity, [("cat", "dog"), ("sea", "hat")], [0.5, 1.5]),
        (PairClassifier, [("cat", "dog"), ("sea", "hat")], [0, 1]),
        (MultipleChoice, [("the", ["cat", "dog"]), ("a", ["sea", "hat", "red"])], [0, 2]),
    ],
)
def test_every_estimator_comes_back(
    quick: dict[str, Any], tmp_path: Path, estimator: Any, x: Any, y: Any
) -> None:
    model = estimator(**{**quick, "max_steps": 1}).fit(x, y)
    model.save(tmp_path / "model")
    again = estimator.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert getattr(again, "classes_", None) is None or len(again.classes_) == len(model.classes_)
    others = {Classifier, Regressor, Similarity, PairClassifier, MultipleChoice} - {estimator}
    name = estimator.__name__
    for other in others:
        with pytest.raises(
            CheckpointError, match=rf"model for {name}, not for \w+; call gpt1.{name}.load"
        ):
            other.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("names", "classes"),
    [(("0", "1", "10"), [0, 1, 10]), (("-1", "1"), [-1, 1]), (("no", "yes"), ["no", "yes"])],
)
def test_a_folder_of_the_command_line_is_an_estimator_too(
    base: Path, tmp_path: Path, names: tuple[str, ...], classes: list[Any]
) -> None:
    head = HeadConfig(layout="text", classes=names)
    tokenizer, model = new_task_model(base, head, TaskConfig(), TrainingConfig())
    save_task_model(tmp_path / "run", model, tokenizer)
    loaded = Classifier.load(tmp_path / "run")
    assert loaded.classes_.tolist() == classes
    assert set(loaded.predict(TEXTS).tolist()) <= set(classes)
    assert loaded.get_params() == Classifier().get_params()


def test_a_value_of_an_ordered_pair_is_for_no_estimator(base: Path, tmp_path: Path) -> None:
    head = HeadConfig(layout="pair")
    tokenizer, model = new_task_model(base, head, TaskConfig(), TrainingConfig())
    save_task_model(tmp_path / "run", model, tokenizer)
    with pytest.raises(CheckpointError, match="a value of an ordered pair, which no estimator"):
        PairClassifier.load(tmp_path / "run")


def test_a_language_model_is_no_estimator(base: Path) -> None:
    with pytest.raises(CheckpointError, match="a language model without the head of a task"):
        Classifier.load(base)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": {"dtype": "<U6", "values": ["animal", "plant"]}},
        {"classes": None},
        {"params": None},
        {"classes": {"dtype": "nonsense", "values": []}},
    ],
)
def test_a_file_that_does_not_fit_the_model_is_refused(
    fitted: Classifier, tmp_path: Path, change: dict[str, Any]
) -> None:
    fitted.save(tmp_path / "model")
    file = tmp_path / "model" / "estimator.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"estimator.json does not fit the model beside it"):
        Classifier.load(tmp_path / "model")
    file.unlink()
    assert Classifier.load(tmp_path / "model").classes_.tolist() == ["animal", "thing"]


def test_a_folder_needs_the_model_it_was_trained_from_no_more(
    base: Path, new: New, tmp_path: Path
) -> None:
    shutil.copytree(base, tmp_path / "base")
    model = new(model=str(tmp_path / "base"), max_steps=1, lr=None).fit(TEXTS, KINDS)
    model.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "base")
    shutil.move(tmp_path / "model", tmp_path / "moved")
    moved = Classifier.load(tmp_path / "moved", device="cpu")
    moved.partial_fit(TEXTS, KINDS).explain(TEXTS[0])
    assert moved.device == "cpu"
