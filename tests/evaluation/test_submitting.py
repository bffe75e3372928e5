"""The test sets of GLUE, predicted from its official files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.predicting import predict
from gpt1.evaluation.submitting import predict_glue
from gpt1.task_checkpoint import load_task_model
from gpt1.tasks.glue import check_submission, write_submission
from tasks.glue_world import SMALL_SETS, rows_of, save_models, write_glue


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    return write_glue(tmp_path / "GLUE")


def test_every_set_is_predicted_by_its_model_in_the_order_of_its_index(
    models: dict[str, Path], glue: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    predictions = predict_glue(models, glue, test_sets=SMALL_SETS, note=told.append)
    assert set(predictions) == set(SMALL_SETS) - {"wnli"}
    assert "predicting MNLI-mm.tsv: 3 examples" in told
    for name, labels in predictions.items():
        task = SMALL_SETS[name].task
        model, tokenizer = load_task_model(models[task])
        assert labels == predict(model, tokenizer, rows_of(task)).labels, name
    write_submission(predictions, tmp_path / "glue.zip", SMALL_SETS)
    assert check_submission(tmp_path / "glue.zip", SMALL_SETS) == []


def test_the_progress_of_each_set_ends_at_its_number_of_tokens(
    models: dict[str, Path], glue: Path
) -> None:
    told: list[tuple[int, int]] = []
    predict_glue(
        models, glue, test_sets=SMALL_SETS, advance=lambda done, total: told.append((done, total))
    )
    assert len(told) == len(SMALL_SETS) - 1
    assert all(done == total > 0 for done, total in told)


def test_the_diagnostic_set_may_be_missing_and_that_is_said(
    models: dict[str, Path], glue: Path
) -> None:
    shutil.rmtree(glue / "diagnostic")
    told: list[str] = []
    predictions = predict_glue(models, glue, test_sets=SMALL_SETS, note=told.append)
    assert "ax" not in predictions
    assert any("AX.tsv is not predicted: no ax data of mnli" in line for line in told)


def test_models_that_are_missing_are_named(models: dict[str, Path], glue: Path) -> None:
    some = {task: folder for task, folder in models.items() if task not in ("rte", "qqp")}
    with pytest.raises(ConfigError, match="no model for qqp, rte; a submission needs one for each"):
        predict_glue(some, glue, test_sets=SMALL_SETS)


def test_a_model_of_another_task_is_refused_before_anything_is_predicted(
    models: dict[str, Path], glue: Path
) -> None:
    told: list[str] = []
    wrong = {**models, "rte": models["qnli"]}
    message = r"is for 'qnli' \(classes: entailment, not_entailment\), not for rte; name one of gpt"
    with pytest.raises(ConfigError, match=message):
        predict_glue(wrong, glue, test_sets=SMALL_SETS, note=told.append)
    assert told == []


def test_a_test_set_that_is_missing_is_named(models: dict[str, Path], glue: Path) -> None:
    (glue / "RTE" / "test.tsv").unlink()
    with pytest.raises(DataError, match="no test data of rte"):
        predict_glue(models, glue, test_sets=SMALL_SETS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["2\ta\tb", "0\ta\tb"], r"0 to 2, but the data has 2 examples, and none for row 1"),
        (["2\ta\tb", "0\ta\tb", "1\ta"], r"and none for row 1 \(test: 2 examples; 1 malformed row"),
        (["0\ta\tb", "1\ta\tb", "2\ta\tb", "3\ta\tb"], r"the data has 4 examples \(test: 4 examp"),
    ],
)
def test_a_row_too_few_or_too_many_is_told(
    models: dict[str, Path], glue: Path, rows: list[str], message: str
) -> None:
    text = "\n".join(["index\tsentence1\tsentence2", *rows, ""])
    (glue / "RTE" / "test.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"^RTE\.tsv needs a prediction for each of the rows") as e:
        predict_glue(models, glue, test_sets=SMALL_SETS)
    assert e.match(message)
