"""Going on with the training of a task model."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gpt1.config import HeadConfig, ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.errors import DataError
from gpt1.tasks.example import text
from gpt1.training.continue_task import continue_task
from gpt1.training.finetune_task import new_task_model
from gpt1.training.tracking import LogWatcher

TRAINING = TrainingConfig(lr=1e-3, batch_size=4, epochs=7, schedule=ScheduleConfig(name="linear"))
EXAMPLES = [text(f"anna {does} the cat", does) for does in ("sees", "hides")] * 6
HEAD = HeadConfig(layout="text", classes=("hides", "sees"))


def test_it_is_one_pass_at_the_full_rate_with_moments_that_go_on(base_model: Path) -> None:
    config = TaskConfig(clf_pdrop=0, pdrop=0)
    tokenizer, model = new_task_model(base_model, HEAD, config, TRAINING)
    optimizers = continue_task(model, tokenizer, EXAMPLES, config, TRAINING)
    [adam] = optimizers
    weight = model.score.weight
    assert adam.state[weight]["step"] == 3
    assert {group["lr"] for group in adam.param_groups} == {1e-3}
    again = continue_task(model, tokenizer, EXAMPLES, config, TRAINING, optimizers=optimizers)
    assert again is optimizers
    assert adam.state[weight]["step"] == 6


def test_a_class_the_head_does_not_know_is_an_error(base_model: Path) -> None:
    tokenizer, model = new_task_model(base_model, HEAD, TaskConfig(), TRAINING)
    with pytest.raises(DataError, match="the label 'buys' is none of the classes hides, sees"):
        continue_task(model, tokenizer, [text("anna", "buys")], TaskConfig(), TRAINING)


def test_an_interrupted_pass_raises(base_model: Path) -> None:
    tokenizer, model = new_task_model(base_model, HEAD, TaskConfig(), TRAINING)

    class Impatient(LogWatcher):
        def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
            assert step == 1
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        continue_task(model, tokenizer, EXAMPLES, TaskConfig(), TRAINING, watch=Impatient())
