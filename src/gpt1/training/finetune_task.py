"""Fine-tuning on labelled examples (GPT-1 sections 3.2 and 3.3), by the one training loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gpt1.atomic import write_text_atomic
from gpt1.backbone import Backbone, require_gpt
from gpt1.checkpoint import load_model
from gpt1.config import (
    OF_LANGUAGE_MODELS,
    GPTConfig,
    HeadConfig,
    ScheduleConfig,
    TaskConfig,
    TrainingConfig,
)
from gpt1.data.batches import steps_per_epoch
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.predicting import judge, predict_encoded
from gpt1.locate import locate
from gpt1.model import GPT, Attention
from gpt1.task_checkpoint import load_task_model, save_task_model
from gpt1.task_model import TaskModel
from gpt1.tasks.batches import LengthOrder, TaskRows
from gpt1.tasks.encoding import SPECIAL_TOKENS, Truncation, encode_examples
from gpt1.tasks.labels import default_metrics, encode_labels, infer_head
from gpt1.tasks.splits import TaskData, subset
from gpt1.tokenizer import Tokenizer
from gpt1.training.card import task_card
from gpt1.training.checkup import (
    Checkup,
    examine,
    examine_disk,
    examine_examples,
    examine_vocabulary,
)
from gpt1.training.curve import draw_task_curve
from gpt1.training.distributed import refuse_many
from gpt1.training.doctor import consult
from gpt1.training.loop import CARD, Job, Trainer
from gpt1.training.objectives import TaskLearning
from gpt1.training.plan import Plan, make_plan
from gpt1.training.run import check_folder, drawn, snapshot_folder, write_settings
from gpt1.training.tracking import LogWatcher, Watcher

PAPER = TrainingConfig(schedule=ScheduleConfig(warmup_fraction=0.002), eval_every_steps=0)
"""How the paper fine-tunes: 3 epochs of 32 examples, 6.25e-5, warm-up over 0.2% of the updates,
then linear to 0 (GPT-1 section 4.1). The best epoch is kept."""

SMALL = replace(PAPER, lr=5e-4, schedule=ScheduleConfig(warmup_fraction=0.1))
"""The same for a model narrower than the paper's, such as mini, which needs a larger rate; found by
trial on mini."""

RESULT = "result.json"


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What came of a run.

    Attributes:
        out: Its folder, or None if nothing was written.
        complete: False if it was interrupted and can be resumed.
        preempted: Whether that was by SIGTERM.
        step: Updates done.
        best_step: Where the kept weights are from.
        elapsed_s: Seconds spent training.
        train_examples: How many were trained on.
        valid_examples: How many picked the checkpoint.
        metrics: Of the kept weights, on the validation examples; empty without them.
        truncation: What was cut from the training examples.
    """

    out: Path | None
    complete: bool
    preempted: bool
    step: int
    best_step: int
    elapsed_s: float
    train_examples: int
    valid_examples: int
    metrics: Mapping[str, float]
    truncation: Truncation

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "out": str(self.out) if self.out else None}


class TaskRun:
    """One model fine-tuned on one task; `finetune_task` is the usual way to one.

    Args:
        model: Where to start from: "mini", a folder or a hub id.
        data: Examples.
        config: Head, loss, what is transferred.
        training: Length, steps, optimizer.

    Attributes:
        model: The task model, in training and after it.
        tokenizer: Of the model, with the special tokens.
        truncation: What was cut from the training examples.

    Raises:
        DataError: If the examples cannot be trained on.
        ConfigError: If a setting does not fit the model.
    """

    def __init__(
        self, model: str | Path, data: TaskData, config: TaskConfig, training: TrainingConfig
    ) -> None:
        train = subset(data.train, config.max_train)
        valid = subset(data.valid, config.max_valid)
        head = infer_head(train, classes=data.task.classes, task=data.task.name)
        self.training = _with_epochs(training, len(train))
        self.tokenizer, self.model = new_task_model(model, head, config, training)
        limit = self.model.config.n_positions
        encoded, self.truncation = encode_examples(train, self.tokenizer, limit)
        self.labels = encode_labels([example.label for example in train], head)
        self.rows = TaskRows(
            encoded, self.labels, share_context=isinstance(self.model.backbone, GPT)
        )
        self.valid, _ = encode_examples(valid, self.tokenizer, limit)
        self.valid_labels = encode_labels([example.label for example in valid], head)
        self.metrics = data.task.metrics or default_metrics(head)
        self.objective = task_objective(self.labels, self.model, config)
        self._origin = model, train, valid, config
        self._kept: dict[str, torch.Tensor] = {}

    def fit(
        self, *, out: Path | None = None, resume: bool = False, watch: Watcher | None = None
    ) -> TaskResult:
        """Train; afterwards the model has the best weights.

        Args:
            out: Folder of metrics, state and the best model; None: nothing is written.
            resume: Go on from the state in the folder.
            watch: Told about the training.

        Returns:
            What came of it.

        Raises:
            TrainingError: If the loss stops being finite.
        """
        trainer = Trainer(self.model, self.training, self._job(out), watch=watch, resume=resume)
        complete = trainer.fit()
        if complete and out:
            self.model, _ = load_task_model(out, device=self.training.device)
        elif self._kept:
            self.model.load_state_dict(self._kept)
        return TaskResult(
            out=out,
            complete=complete,
            preempted=trainer.stop.preempted,
            step=trainer.state.step,
            best_step=trainer.state.best_step or trainer.state.step,
            elapsed_s=trainer.state.elapsed_s,
            train_examples=len(self.rows),
            valid_examples=len(self.valid),
            metrics=self.score() if self.valid and complete else {},
            truncation=self.truncation,
        )

    def checkup(self, out: Path) -> Checkup:
        """What the doctor looks at, if this runs in a folder."""
        model, train, valid, config = self._origin
        run = examine(
            self.model,
            self.training,
            sequences=len(self.rows),
            tokens=int(self.rows.lengths.sum()),
            fine_tuned=config.transfer_layers is None,
        )
        run = examine_vocabulary(run, model, self.tokenizer)
        return examine_disk(examine_examples(run, train, valid, cut=self.truncation.cut), out)

    def _job(self, out: Path | None) -> Job:
        return Job(
            train=self.rows,
            valid=None,
            objective=self.objective,
            out=out,
            keep=self._keep(out),
            order=LengthOrder(self.rows.lengths),
            score=self.score if self.valid else None,
            snapshot=self._snapshot(out) if out else None,
        )

    def _keep(self, out: Path | None) -> Callable[[], None]:
        if out is not None:
            return lambda: save_task_model(out, self.model, self.tokenizer)

        def keep() -> None:
            self._kept = {name: t.clone() for name, t in self.model.state_dict().items()}

        return keep

    def _snapshot(self, out: Path) -> Callable[[int], None]:
        return lambda step: save_task_model(snapshot_folder(out, step), self.model, self.tokenizer)

    def score(self) -> dict[str, float]:
        """Metrics of the task on the validation examples, and the loss of the head."""
        predictions = predict_encoded(self.model, self.valid)
        return judge(predictions, self.valid_labels, self.metrics)


def finetune_task(
    model: str | Path,
    data: TaskData,
    out: str | Path,
    config: TaskConfig | None = None,
    training: TrainingConfig = PAPER,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
) -> TaskResult:
    """Fine-tune a model on labelled examples.

    Args:
        model: "mini", a folder or a hub id.
        data: Examples to train on and to pick the checkpoint by.
        out: Folder of the run; the best model is read from it by `load_task_model`.
        config: Head, loss, what is transferred.
        training: Length, steps, optimizer; the default is the paper's.
        resume: Continue the run in ``out``.
        watch: Told about the training.

    Returns:
        What came of it; also in ``result.json``.

    Raises:
        ConfigError: If ``out`` is in use and ``resume`` is not asked for, or a setting does not
            fit.
        DataError: If the examples cannot be trained on.
        TrainingError: If the loss stops being finite.
    """
    refuse_many("fine-tuning on a task")
    config = config or TaskConfig()
    settings = run_settings(model, data, config, training)
    out = check_folder(out, settings, resume=resume)
    run = TaskRun(model, data, config, training)
    watch = watch or LogWatcher()
    consult(run.checkup(out), watch)
    write_settings(out, settings)
    if not run.truncation.cut:  # else the doctor has told
        watch.note(str(run.truncation))
    result = run.fit(out=out, resume=resume, watch=watch)
    drawn(draw_task_curve, out)
    if result.complete:
        text = json.dumps(result.as_dict(), indent=2) + "\n"
        write_text_atomic(out / RESULT, text)
        card = task_card(out.name, run.model, result.as_dict(), settings)
        write_text_atomic(out / CARD, card)
    return result


def plan_finetune_task(
    model: str | Path,
    data: TaskData,
    out: str | Path,
    config: TaskConfig | None = None,
    training: TrainingConfig = PAPER,
    *,
    resume: bool = False,
) -> Plan:
    """What `finetune_task` would do with the same arguments; nothing is trained or written.

    Raises:
        Gpt1Error: As `finetune_task` does before it begins; what its rules find is in the plan.
    """
    config = config or TaskConfig()
    out = check_folder(out, run_settings(model, data, config, training), resume=resume)
    run = TaskRun(model, data, config, training)
    longest = int(np.argmax(run.rows.lengths))
    return make_plan(
        run.checkup(out), run.model, run.objective, lambda n: run.rows.rows(np.full(n, longest))
    )


def suited_training(n_embd: int) -> TrainingConfig:
    """How a model of this width is fine-tuned if nothing else is said: `PAPER`, or `SMALL`."""
    return PAPER if n_embd >= GPTConfig().n_embd else SMALL


def run_settings(
    model: str | Path, data: TaskData, config: TaskConfig, training: TrainingConfig
) -> dict[str, Any]:
    """All settings of a run, as plain data."""
    settings = {"model": str(model), **data.source, **asdict(config), **asdict(training)}
    return {name: value for name, value in settings.items() if name not in OF_LANGUAGE_MODELS}


def _with_epochs(training: TrainingConfig, examples: int) -> TrainingConfig:
    """Where no interval is given, validate after each epoch."""
    if training.seq_len is not None:
        raise ConfigError(
            f"seq_len is {training.seq_len} but examples are not packed; leave it out"
        )
    if training.sample_every_steps:
        raise ConfigError(
            f"sample_every_steps is {training.sample_every_steps} but a task model writes no "
            "texts; leave it out"
        )
    if training.eval_every_steps:
        return training
    return replace(training, eval_every_steps=steps_per_epoch(examples, training.batch_size))


def new_task_model(
    model: str | Path, head: HeadConfig, config: TaskConfig, training: TrainingConfig
) -> tuple[Tokenizer, TaskModel]:
    """A pre-trained model with new tokens and a new head, drawn by the seed.

    Args:
        model: "mini", a folder or a hub id.
        head: What is to be predicted.
        config: What is transferred, and the dropout.
        training: Seed and device.

    Returns:
        The tokenizer with the special tokens, and the model.
    """
    folder = locate(model)
    backbone = load_model(folder, device=training.device, dtype="float32")
    tokenizer = Tokenizer.load(folder, config.tokenizer_mode)
    set_dropout(backbone, config.pdrop)
    torch.manual_seed(training.seed)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    backbone.grow_vocabulary(max(tokenizer.vocab_size, backbone.config.vocab_size))
    if config.transfer_layers is not None:
        transfer(require_gpt(backbone, "transfer_layers"), config.transfer_layers)
    return tokenizer, TaskModel(backbone, replace(head, clf_pdrop=config.clf_pdrop))


def set_dropout(model: Backbone, pdrop: float) -> None:
    """Set the dropout of embeddings, attention weights and residual branches, or of an LSTM."""
    rates = {name: pdrop for name in asdict(model.config) if name.endswith("_pdrop")}
    model.config = model.config.replace(**rates)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = pdrop
        elif isinstance(module, Attention):
            module.attn_pdrop = pdrop


def transfer(model: GPT, layers: int) -> None:
    """Keep the embeddings and the first blocks of a model and draw the rest anew.

    Args:
        model: Changed in place.
        layers: Blocks to keep; -1 draws even the embeddings anew.

    Raises:
        ConfigError: If the model has fewer blocks.

    Source: GPT-1 section 5, figure 2 (left); the mode without embeddings is the authors' code's.
    """
    if layers > len(model.h):
        raise ConfigError(
            f"transfer_layers is {layers} but the model has {len(model.h)} blocks; "
            f"choose -1 to {len(model.h)}"
        )
    fresh = GPT(model.config)
    if layers < 0:
        model.load_state_dict(fresh.state_dict())
    for block, other in list(zip(model.h, fresh.h, strict=True))[max(0, layers) :]:
        block.load_state_dict(other.state_dict())


def task_objective(labels: NDArray[Any], model: TaskModel, config: TaskConfig) -> TaskLearning:
    """The loss of a task, with its classes weighed.

    Args:
        labels: ``(N,)``, from `encode_labels`: of the examples to train on.
        model: On its device.
        config: The weights.

    Raises:
        ConfigError: If there are weights but no classes, or not those.
        DataError: If a class is to be balanced that has no example.
    """
    weights = _class_weights(labels, model.head, config.class_weights)
    if weights is None:
        return TaskLearning(config.lm_coef)
    return TaskLearning(
        config.lm_coef, torch.tensor(weights, dtype=torch.float32, device=model.device)
    )


def _class_weights(
    labels: NDArray[Any], head: HeadConfig, weights: Mapping[str, float] | str | None
) -> Sequence[float] | NDArray[np.float64] | None:
    """Weights as given; balanced ones are inverse to how often a class occurs, 1 in the mean."""
    if weights is None:
        return None
    if head.kind != "class":
        raise ConfigError(
            f"class_weights is {weights!r} but this task has no classes; leave it out"
        )
    if not isinstance(weights, str):
        unknown = sorted(set(weights) - set(head.classes))
        if unknown:
            raise ConfigError(
                f"class_weights names {unknown[0]!r}, which is none of the classes "
                f"{', '.join(head.classes)}"
            )
        return [weights.get(name, 1.0) for name in head.classes]
    counts = np.bincount(labels, minlength=head.n_outputs)
    if not counts.all():
        missing = head.classes[int(np.argmin(counts))]
        raise DataError(f"class_weights needs an example of every class, but {missing!r} has none")
    return len(labels) / (head.n_outputs * counts)
