"""Predictions for the leaderboard of GLUE, by models fine-tuned on its tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.predicting import predict
from gpt1.evaluation.shared_prefix import Advance
from gpt1.task_checkpoint import load_task_model, read_head
from gpt1.tasks.example import Label
from gpt1.tasks.glue import FILLERS, TEST_SETS, GlueSet
from gpt1.tasks.reading import Examples, read_split
from gpt1.tasks.task import get_task


def predict_glue(
    models: Mapping[str, str | Path],
    data: str | Path,
    *,
    device: str = "cpu",
    test_sets: Mapping[str, GlueSet] = TEST_SETS,
    note: Callable[[str], None] = lambda message: None,
    advance: Advance | None = None,
) -> dict[str, list[Label]]:
    """Predict the test sets of GLUE. Everything is checked before the first prediction.

    Args:
        models: For each task, "cola" and so on, the folder of a model fine-tuned on it.
        data: As for `gpt1.tasks.reading.read_split`: a folder with GLUE's folders, or "hub:".
        device: Where the models run.
        test_sets: What is predicted.
        note: Told about each test set.
        advance: Told about progress in each.

    Returns:
        For `gpt1.tasks.glue.write_submission`: the labels of each set in the order of its index.
        WNLI is not among them, and neither is the diagnostic set where the data lacks it.

    Raises:
        ConfigError: If there is no model for a task, or one was fine-tuned on something else.
        DataError: If a test set cannot be read, or a row of it is missing.
    """
    tasks = list(dict.fromkeys(s.task for s in test_sets.values() if s.task))
    _check_models(models, tasks)
    read = {name: _read(name, s, data, note) for name, s in test_sets.items() if s.task}
    predictions = {}
    for task in tasks:
        model, tokenizer = load_task_model(models[task], device=device)
        for name, examples in read.items():
            if examples is not None and test_sets[name].task == task:
                note(f"predicting {test_sets[name].file}: {len(examples):,} examples")
                found = predict(model, tokenizer, examples.examples, advance=advance)
                predictions[name] = found.labels
    return predictions


def _check_models(models: Mapping[str, str | Path], tasks: list[str]) -> None:
    missing = [task for task in tasks if task not in models]
    if missing:
        raise ConfigError(
            f"there is no model for {', '.join(missing)}; a submission needs one for each of "
            f"{', '.join(tasks)}"
        )
    for task in tasks:
        head = read_head(models[task])
        if (head.task, head.classes) != (task, get_task(task).classes):
            classes = ", ".join(head.classes) or "none"
            raise ConfigError(
                f"the model in {models[task]} is for {head.task!r} (classes: {classes}), not for "
                f"{task}; name one of gpt1 finetune task {task}"
            )


def _read(
    name: str, test_set: GlueSet, data: str | Path, note: Callable[[str], None]
) -> Examples | None:
    """The examples of a test set by their index; None if it is not there and may be missing."""
    try:
        examples = read_split(get_task(test_set.task), data, test_set.split)
    except DataError as error:
        if name not in FILLERS:
            raise
        note(f"{test_set.file} is not predicted: {error}")
        return None
    places = {index: place for place, index in enumerate(examples.ids)}
    wanted = [str(index) for index in range(test_set.rows)]
    missing = [index for index in wanted if index not in places]
    if missing or len(places) != len(wanted):
        lacks = f", and none for row {missing[0]}" if missing else ""
        raise DataError(
            f"{test_set.file} needs a prediction for each of the rows 0 to {test_set.rows - 1:,}, "
            f"but the data has {len(examples):,} examples{lacks} ({examples.summary()}); take the "
            f"official files of GLUE"
        )
    return examples.select([places[index] for index in wanted])
