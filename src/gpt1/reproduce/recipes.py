"""Two ways to fine-tune on the same jokes from the same weights: the tutorial's and ours."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import torch

from gpt1.backbone import Backbone
from gpt1.checkpoint import load_model
from gpt1.config import TextConfig, TrainingConfig
from gpt1.data.batches import PackedRows
from gpt1.errors import DataError
from gpt1.language_model import LanguageModel, load
from gpt1.reproduce.judge import Judge
from gpt1.reproduce.packing import OurPacking, TutorialPacking
from gpt1.reproduce.settings import SeedConfig
from gpt1.reproduce.tutorial_recipe import PREFIX, encoder, train
from gpt1.tokenizer import Tokenizer
from gpt1.training.finetune import add_end_token, encode_splits, packed_rows
from gpt1.training.loop import Job, Trainer, total_steps
from gpt1.training.objectives import LanguageModeling
from gpt1.training.report_card import About
from gpt1.training.run import complete_run, keep_model, write_settings
from gpt1.training.tracking import Watcher, read_metrics

MICRO_BATCH = 4
"""Rows of ours at once: the update is the same, and the 117M model fits in ordinary memory."""

CURVE_POINTS = 10
"""Measurements of the held-out loss during a run, about."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both recipes get.

    Attributes:
        settings: Of the walk.
        start: Folder of the weights both start from.
        jokes: To train on.
        judge: Has the held-out jokes.
        before: Held-out loss of the weights both start from.
        watch: Told about the training.
    """

    settings: SeedConfig
    start: Path
    jokes: Sequence[str]
    judge: Judge
    before: float
    watch: Watcher


@dataclass(kw_only=True)
class Outcome:
    """What came of a recipe.

    Attributes:
        lm: The model it leaves: of ours, the best by its own validation.
        planned: Updates it would make uninterrupted.
        updates: Updates it made.
        seconds: Time of training alone.
        largest_lr: Largest learning rate an update used.
        grad_norms: Norm of the gradients of each update, as the recipe sums or averages them.
        curve: (updates, held-out loss) on the way.
        complete: Whether it was left to finish.
        loss: Held-out loss of ``lm``, if it was left to finish; else the last measured.
    """

    lm: LanguageModel
    planned: int
    loss: float
    updates: int = 0
    seconds: float = 0.0
    largest_lr: float = 0.0
    grad_norms: list[float] = field(default_factory=list)
    curve: list[tuple[int, float]] = field(default_factory=list)
    complete: bool = True


def train_tutorial(task: Task, packing: TutorialPacking, limit: int) -> Outcome:
    """Fine-tune as the tutorial does; Ctrl-C ends it where it is.

    Args:
        task: What to train on.
        packing: How many packs there will be.
        limit: Ids of a pack at most.

    Returns:
        The last weights, which is all it has.
    """
    settings, watch = task.settings, task.watch
    model = load_model(task.start, device=settings.device, dtype="float32")
    tokenizer = Tokenizer.load(task.start, "bert")
    planned = min(packing.updates, settings.max_steps or packing.updates)
    outcome = Outcome(
        lm=LanguageModel(model, tokenizer),
        planned=planned,
        loss=task.before,
        curve=[(0, task.before)],
    )
    updates = train(
        model,
        encoder(tokenizer, model.device),
        task.jokes,
        epochs=settings.passes,
        limit=limit,
        seed=settings.seed,
    )
    watch.start(0, planned, "tokens")
    began = time.perf_counter()
    try:
        for update in islice(updates, planned):
            seconds = time.perf_counter() - began
            watch.update(update.number, update.loss, update.tokens / seconds)
            outcome.updates = update.number
            outcome.seconds += seconds
            outcome.largest_lr = max(outcome.largest_lr, update.lr)
            outcome.grad_norms.append(update.grad_norm)
            if is_due(update.number, planned):
                measure(model, task, outcome.curve, update.number)
            began = time.perf_counter()
    except KeyboardInterrupt:
        outcome.complete = False
    finally:
        watch.stop()
        model.eval()
    outcome.loss = outcome.curve[-1][1]
    return outcome


def is_due(update: int, planned: int) -> bool:
    """Whether the held-out loss is measured after this update."""
    return update == planned or update % max(1, planned // CURVE_POINTS) == 0


def measure(model: Backbone, task: Task, curve: list[tuple[int, float]], update: int) -> None:
    """Add a point to a curve."""
    curve.append((update, task.judge.loss(model)))
    task.watch.note(f"after {update} updates: held-out loss {curve[-1][1]:.4f}")


class OurRun:
    """Our recipe, prepared: `rows` says what it trains on, `train` does it.

    It is what ``gpt1 finetune lm`` does, and measures the held-out loss on the way.

    Args:
        task: What to train on.
        data: File of the jokes of the task.
        out: Folder of the run.
        lr: Peak learning rate.

    Raises:
        DataError: If there is nothing to train on.
    """

    def __init__(self, task: Task, data: Path, out: Path, lr: float) -> None:
        settings = task.settings
        self.task, self.out = task, out
        self.model = load_model(task.start, device=settings.device, dtype="float32")
        self.tokenizer = Tokenizer.load(task.start, "bert")
        self.texts = TextConfig(data=str(data), prefix=PREFIX)
        torch.manual_seed(settings.seed)
        add_end_token(self.model, self.tokenizer, self.texts.end_token)
        ids, held_out = encode_splits(self.texts, self.tokenizer, settings.seed)
        limit = self.model.config.n_positions
        rows = packed_rows(ids, limit, settings.seed)
        if rows is None:
            raise DataError("the jokes leave nothing to train on; give more, or longer ones")
        self.rows: PackedRows = rows
        self.valid = packed_rows(held_out, limit, settings.seed)
        self.packing = OurPacking(ids, rows.packed)
        self.training = self._training(lr)

    def _training(self, lr: float) -> TrainingConfig:
        settings = self.task.settings
        training = TrainingConfig(
            lr=lr,
            epochs=settings.passes,
            batch_size=settings.batch_size,
            micro_batch_size=MICRO_BATCH,
            log_every_steps=1,
            save_every_steps=0,
            seed=settings.seed,
            device=settings.device,
        )
        steps = total_steps(training, len(self.rows))
        steps = min(steps, settings.max_steps or steps)
        every = max(1, steps // CURVE_POINTS)
        return dataclasses.replace(training, max_steps=steps, eval_every_steps=every)

    def train(self) -> Outcome:
        """Fine-tune.

        Returns:
            The best weights by the validation of the run; the last, if it was interrupted.
        """
        model, task = self.model, self.task
        settings = {"model": task.settings.model, **asdict(self.texts), **asdict(self.training)}
        write_settings(self.out, settings)
        job = Job(
            train=self.rows,
            valid=self.valid,
            objective=LanguageModeling(),
            out=self.out,
            keep=keep_model(self.out, model, self.tokenizer),
        )
        curve = [(0, task.before)]
        trainer = Trainer(model, self.training, job, watch=_Measuring(task, model, curve))
        about = About(
            origin=f"Fine-tuned from {task.settings.model} on {len(task.jokes)} jokes",
            command="",
            prompts=[self.texts.prefix.strip()],
        )
        result = complete_run(trainer, self.tokenizer, about)
        rows = [row for row in read_metrics(self.out / "metrics.jsonl") if "lr" in row]
        loss, lm = curve[-1][1], LanguageModel(model, self.tokenizer)
        if result.complete:
            lm = load(self.out, device=task.settings.device, tokenizer_mode="bert")
            loss = dict(curve).get(result.best_step or result.step, loss)
        return Outcome(
            lm=lm,
            planned=trainer.total_steps,
            updates=result.step,
            seconds=result.elapsed_s,
            largest_lr=max((row["lr"] for row in rows), default=0.0),
            grad_norms=[row["grad_norm"] for row in rows],
            curve=curve,
            loss=loss,
            complete=result.complete,
        )


class _Measuring:
    """A `Watcher` that passes on what it is told, and measures the held-out loss now and then."""

    def __init__(self, task: Task, model: Backbone, curve: list[tuple[int, float]]) -> None:
        self.task, self.model, self.curve = task, model, curve
        self.planned = 0
        self.advance, self.note, self.stop = task.watch.advance, task.watch.note, task.watch.stop

    def start(self, step: int, total_steps: int, unit: str) -> None:
        """Remember the length of the run."""
        self.planned = total_steps
        self.task.watch.start(step, total_steps, unit)

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        """Measure, where it is due."""
        self.task.watch.update(step, loss, rate)
        if is_due(step, self.planned):
            measure(self.model, self.task, self.curve, step)
