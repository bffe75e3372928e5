"""A task model trained further on more examples of its task, at a constant rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch.optim import Optimizer

from gpt1.config import ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.model import GPT
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import LengthOrder, TaskRows
from gpt1.tasks.encoding import encode_examples
from gpt1.tasks.example import Example
from gpt1.tasks.labels import encode_labels
from gpt1.tokenizer import Tokenizer
from gpt1.training.finetune_task import task_objective
from gpt1.training.loop import Job, Trainer
from gpt1.training.tracking import Watcher

CONSTANT = ScheduleConfig(name="constant", warmup_fraction=0.0)


def continue_task(
    model: TaskModel,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    config: TaskConfig,
    training: TrainingConfig,
    *,
    optimizers: list[Optimizer] | None = None,
    watch: Watcher | None = None,
) -> list[Optimizer]:
    """Pass over examples once, at the peak rate from the first update to the last.

    Args:
        model: Trained in place.
        tokenizer: Of the model.
        examples: With labels the head of the model knows.
        config: Weights of the losses.
        training: Rate, batch size, precision and seed; its length and schedule are not read.
        optimizers: What an earlier call returned, to go on with its moments.
        watch: Told about the training.

    Returns:
        The optimizers.

    Raises:
        DataError: If a label is missing, or is a class the head does not know.
        TrainingError: If the loss stops being finite.
        KeyboardInterrupt: If the user interrupts.
    """
    encoded, _ = encode_examples(examples, tokenizer, model.config.n_positions)
    labels = encode_labels([example.label for example in examples], model.head)
    rows = TaskRows(encoded, labels, share_context=isinstance(model.backbone, GPT))
    job = Job(
        train=rows,
        valid=None,
        objective=task_objective(labels, model, config),
        out=None,
        keep=lambda: None,
        order=LengthOrder(rows.lengths),
    )
    training = replace(training, epochs=1, max_steps=None, schedule=CONSTANT)
    trainer = Trainer(model, training, job, watch=watch, optimizers=optimizers)
    if not trainer.fit():
        raise KeyboardInterrupt
    return trainer.optimizers
