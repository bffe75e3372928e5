"""Each of the paper's twelve tasks, from the rows of its files to predictions of a trained model.

The model is small and random: it only has to learn a handful of rows by heart.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt1.checkpoint import load_model, save_model
from gpt1.config import GPTConfig, HeadConfig, ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.evaluation.predicting import predict
from gpt1.locate import locate
from gpt1.model import GPT
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import collate
from gpt1.tasks.encoding import SPECIAL_TOKENS, encode_examples
from gpt1.tasks.reading import Examples, read_split
from gpt1.tasks.splits import TaskData
from gpt1.tasks.task import NAMES, get_task
from gpt1.tokenizer import Tokenizer
from gpt1.training.finetune_task import TaskRun

SPLITS = {"race": "dev"}
"""Not train where that is large: 87,866 questions."""

RANGES = {"matthews": (-1, 1), "pearson": (-1, 1), "spearman": (-1, 1)}
QUICK = TrainingConfig(
    lr=0.01,
    max_steps=12,
    batch_size=8,
    eval_every_steps=12,
    schedule=ScheduleConfig(warmup_fraction=0.1),
)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow random model with the words of mini."""
    tokenizer = Tokenizer.load(locate("mini"))
    shape = GPTConfig(
        vocab_size=tokenizer.vocab_size, n_positions=192, n_embd=32, n_layer=1, n_head=2
    )
    model = GPT(shape)
    model.reset_parameters(torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("small") / "model"
    save_model(folder, model, tokenizer)
    return folder


@cache
def first_rows(shared_data: Path, name: str) -> Examples:
    """The first 24 examples of a task with a label."""
    examples = read_split(get_task(name), shared_data / "tasks", SPLITS.get(name, "train"))
    labelled = [n for n, example in enumerate(examples.examples) if example.label is not None]
    return examples.select(labelled[:24])


@pytest.mark.parametrize("name", NAMES)
def test_a_task_trains_on_its_rows_and_predicts_its_labels(
    name: str, shared_data: Path, small_model: Path
) -> None:
    task, rows = get_task(name), first_rows(shared_data, name).examples
    data = TaskData(task=task, train=rows[:16], valid=rows)
    losses: list[float] = []

    class Watch:
        def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
            losses.append(loss)

        def __getattr__(self, attribute: str) -> object:
            return lambda *args: None

    run = TaskRun(small_model, data, TaskConfig(pdrop=0), QUICK)
    result = run.fit(watch=Watch())  # type: ignore[arg-type]
    assert np.mean(losses[-2:]) < 0.9 * np.mean(losses[:2])
    assert list(result.metrics) == [*task.metrics, "valid_loss"]
    for metric, value in list(result.metrics.items())[:-1]:
        low, high = RANGES.get(metric, (0, 1))
        assert low <= value <= high, metric
    predictions = predict(run.model, run.tokenizer, rows)
    assert len(predictions) == len(rows)
    if run.model.head.kind == "value":
        assert all(isinstance(label, float) for label in predictions.labels)
    else:
        options = task.classes or range(predictions.logits.shape[1])
        assert set(predictions.labels) <= set(options)
        assert {example.label for example in rows} <= set(options)
        np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0)


@pytest.mark.parametrize("name", ["race", "storycloze"])
def test_a_context_that_is_read_once_gives_what_reading_it_for_each_option_gives(
    name: str, shared_data: Path
) -> None:
    tokenizer = Tokenizer.load(locate("mini"))
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    backbone = load_model(locate("mini"), dtype="float32").double()
    backbone.grow_vocabulary(tokenizer.vocab_size)
    model = TaskModel(backbone, HeadConfig(layout="choice")).double().eval()
    rows = first_rows(shared_data, name).examples[:6]
    encoded, _ = encode_examples(rows, tokenizer, backbone.config.n_positions)
    labels = np.array([example.label for example in rows])
    with torch.no_grad():
        once, each = (
            model(collate(encoded, labels, share_context=share), need_lm_loss=True)
            for share in (True, False)
        )
    torch.testing.assert_close(once.logits, each.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(once.lm_loss, each.lm_loss, atol=1e-6, rtol=1e-6)
