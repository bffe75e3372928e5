"""The training loop, one for pre-training and fine-tuning, on one process or many.

Which sequences a step reads depends on (seed, step) alone, and which dropout masks a process draws
on its rank besides, so a run that resumes goes the way it would have gone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gpt1.atomic import write_text_atomic
from gpt1.backbone import Backbone
from gpt1.config import TrainingConfig
from gpt1.data.batches import (
    BatchSource,
    Order,
    batch_indices,
    random_order,
    steps_per_epoch,
)
from gpt1.errors import TrainingError
from gpt1.fused.layers import Workspace
from gpt1.task_model import TaskModel
from gpt1.training.ahead import Ahead, pinned
from gpt1.training.distributed import (
    compile_blocks,
    current,
    gradient_sync,
    local_bytes,
    replicated,
    shard,
)
from gpt1.training.heap import kept_memory
from gpt1.training.interrupt import StopRequest, stop_on_interrupt
from gpt1.training.journal import Journal, Sample
from gpt1.training.measuring import Movement, Utilization, peak_memory_bytes
from gpt1.training.objectives import Objective
from gpt1.training.optimizer import build_optimizers, clip, set_aside
from gpt1.training.parts import part_size
from gpt1.training.schedule import lr_factor
from gpt1.training.state import LoopState, load_state, save_state
from gpt1.training.tracking import LogWatcher, Watcher

CARD = "README.md"
"""The model card, which a run writes at its end."""

RANK_STRIDE = 0x9E3779B97F4A7C15
"""Keeps the seeds of processes apart: 2 ** 64 over the golden ratio."""


class _StoppedHalfway(Exception):
    """The user does not want to wait for the update or the validation that is under way."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run trains on and where it writes.

    Attributes:
        train: Training sequences.
        valid: Validation sequences, or None: then the last weights are kept, not the best.
        objective: What is minimised.
        out: Folder of the run: metrics and state. None: nothing is written.
        keep: Called, in every process, to write the model whenever its weights are the ones to
            keep.
        order: In which the training sequences are read.
        score: Computes figures on validation data in place of the loss over ``valid``. The first
            decides which weights are kept: the higher, the better. One called ``valid_loss`` is
            shown as that.
        snapshot: Called with the number of updates done, to keep the model as it is then.
        sample: Called, in every process, to write texts with the model as it is then.
    """

    train: BatchSource
    valid: BatchSource | None
    objective: Objective
    out: Path | None
    keep: Callable[[], None]
    order: Order = random_order
    score: Callable[[], Mapping[str, float]] | None = None
    snapshot: Callable[[int], None] | None = None
    sample: Callable[[], Sequence[Sample]] | None = None


class Trainer:
    """Trains a model as a config says; with ``torchrun``, one in every process.

    Args:
        model: On its device, the same in every process; trained in place.
        config: Of the run.
        job: Data, objective and folder.
        watch: Told about the progress; default: the log.
        resume: Go on from the state in the folder.
        optimizers: Of an earlier run of the model, to go on with; default: new ones.
    """

    def __init__(
        self,
        model: Backbone | TaskModel,
        config: TrainingConfig,
        job: Job,
        *,
        watch: Watcher | None = None,
        resume: bool = False,
        optimizers: list[torch.optim.Optimizer] | None = None,
    ) -> None:
        self.model = model
        self.config = config
        self.job = job
        self.watch = watch or LogWatcher()
        self.processes = current()
        self.stop = StopRequest()
        self.total_steps = total_steps(config, len(job.train))
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.model.activation_checkpointing = config.activation_checkpointing
        if config.compile:
            compile_blocks(model)
        shard(model, config.parallel, self.dtype)
        self.replica: nn.Module = model
        self.optimizers = optimizers or build_optimizers(
            model, config.optimizer, config.lr, matrix_dtype=self.dtype
        )
        self.state = LoopState()
        self.state_folder = job.out / "state" if job.out else None
        if resume and job.out and self._has_state(job.out):
            self.state = load_state(job.out / "state", model, self.optimizers)
        self.journal = Journal(
            job.out if self.processes.main else None, self.state.step, config.track
        )
        self.utilization: Utilization | None = None
        self.part_size = part_size(model, config)
        self.input = Ahead(self._read, self.total_steps, threads=0)
        self.workspace = Workspace()

    def _has_state(self, out: Path) -> bool:
        """False where a run was killed before it saved a state; a complete one always has some."""
        if (out / CARD).exists() or any((out / "state").glob("step-*")):
            return True
        self.watch.note("no state was saved yet; starting from the beginning")
        return False

    def fit(self) -> bool:
        """Train to the end, or until a signal asks to stop.

        Returns:
            Whether the run is complete; if not, its state is saved and it can be resumed.

        Raises:
            TrainingError: At a loss or gradient that is not finite, before the update.
        """
        if isinstance(self.model, Backbone):
            self.utilization = Utilization(
                self.model.config, self.config, self.model.device, self.processes.world
            )
        self.journal.open()
        self.watch.start(self.state.step, self.total_steps, self.job.objective.unit)
        try:
            with (
                stop_on_interrupt(patient=self.processes.world > 1) as self.stop,
                kept_memory(self.model.device.type),
                replicated(self.model, self.config.parallel) as self.replica,
                Ahead(self._read, self.total_steps, threads=int(self._on_gpu)) as self.input,
            ):
                if self._keeps_gradients:
                    set_aside(self.model, self.optimizers)
                return self._run()
        finally:
            self.workspace = Workspace()
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            self.replica = self.model
            self.watch.stop()
            self.journal.close(self._finished())
            self.model.eval()

    def _run(self) -> bool:
        saved, told = -1, self.processes.world == 1
        try:
            if self.state.step == 0:
                self._snapshot()
                self._sample()
            self._evaluate_if_due()
            while not self._finished() and not self._asked_to_stop():
                self._step()
                if not told:
                    told = True
                    self._tell_share()
                self._snapshot()
                if self._due(self.config.sample_every_steps):
                    self._sample()
                self._evaluate_if_due()
                if self._due(self.config.save_every_steps) or self._finished():
                    self._save_state()
                    saved = self.state.step
        except _StoppedHalfway:
            self._zero_grad()
            self._save_state()
            return False
        if self.stop.requested and saved != self.state.step:
            self._save_state()
        return self._finished()

    def _tell_share(self) -> None:
        """Say how much of the run this process holds, once there are moments."""
        states = [
            state.values() for optimizer in self.optimizers for state in optimizer.state.values()
        ]
        tensors = [*self.model.parameters(), *chain.from_iterable(states)]
        held, whole_run = local_bytes(tensors), sum(tensor.nbytes for tensor in tensors)
        self.watch.note(
            f"{self.processes.world} processes, {self.config.parallel}: the first holds "
            f"{held:,} of the {whole_run:,} bytes of weights and moments"
        )

    def _asked_to_stop(self) -> bool:
        """Whether any process was; all give the same answer."""
        return self.processes.totals(self.stop.requested)[0] > 0

    def _leave_if_asked(self) -> None:
        """Give up what is under way. Many processes finish it: they have to stop at one place."""
        if self.stop.requested and self.processes.world == 1:
            raise _StoppedHalfway

    def _snapshot(self) -> None:
        if self.job.snapshot and self.state.step in self.config.snapshot_steps:
            self.job.snapshot(self.state.step)

    def _sample(self) -> None:
        if self.job.sample:
            self.journal.write_samples(self.state.step, self.job.sample())

    def _save_state(self) -> None:
        if self.state_folder:
            states = self.config.states
            save_state(self.state_folder, self.model, self.optimizers, self.state, states)

    def _finished(self) -> bool:
        patience = self.config.patience
        exhausted = patience is not None and self.state.stale >= patience
        return exhausted or self.state.step >= self.total_steps

    def _due(self, every: int, ahead: int = 0) -> bool:
        """Whether a step is the last, or one of every so many (0: only the last)."""
        step = self.state.step + ahead
        return step >= self.total_steps or (every > 0 and step % every == 0)

    def _step(self) -> None:
        """One optimizer update."""
        began = time.perf_counter()
        step = self.state.step + 1
        seed = self.config.seed * 2**32 + step + RANK_STRIDE * self.processes.rank
        torch.manual_seed(seed % 2**64)
        self.model.train()
        factor = lr_factor(step, self.total_steps, self.config.schedule)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
        indices = self._indices(step)
        loss, targets = self._backward(step)
        grad_norm = self._clip()
        movement = None
        if math.isfinite(loss) and math.isfinite(grad_norm):
            movement = self._update()
        else:
            self._leave_out(step, indices, loss, grad_norm)
        self._zero_grad()
        self._record(step, (loss, grad_norm, movement), targets, time.perf_counter() - began)

    def _update(self) -> float | None:
        """Move the weights; says how far where the step is logged, as knowing it takes time."""
        logged = self._due(self.config.log_every_steps, ahead=1)
        movement = Movement(self.model) if logged else None
        for optimizer in self.optimizers:
            optimizer.step()
        return movement.ratio() if movement else None

    def _zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=not self._keeps_gradients)

    def _indices(self, step: int) -> NDArray[np.int64]:
        sequences, config = len(self.job.train), self.config
        return batch_indices(sequences, config.batch_size, step, config.seed, self.job.order)

    @property
    def _keeps_gradients(self) -> bool:
        """Whether gradients stay where they are; PyTorch's own memory of a GPU has no holes."""
        return self.model.device.type == "cpu" and self.processes.world == 1

    @property
    def _on_gpu(self) -> bool:
        return self.model.device.type == "cuda"

    def _backward(self, step: int) -> tuple[float, int]:
        """Mean loss of the batch and its number of targets; gradients of that mean are left behind.

        Each part of the batch weighs as much as it has targets, so the update depends neither on
        ``micro_batch_size`` nor on the number of processes.
        """
        parts, counts = self.input.of(step)
        world, objective = self.processes.world, self.job.objective
        targets = int(self.processes.totals(sum(counts))[0])
        total = torch.zeros((), device=self.model.device)
        for number, (part, count) in enumerate(zip(parts, counts, strict=True), start=1):
            self._leave_if_asked()
            with (
                self.workspace.used() if self._keeps_gradients else nullcontext(),
                gradient_sync(self.replica, enabled=number == len(parts)),
            ):
                with self._autocast():
                    loss = objective.loss(self.replica, part.to(self.model.device))
                # Gradients are averaged over the processes; what is wanted is their sum.
                share = loss * (count * world / max(1, targets))
                share.backward()  # type: ignore[no-untyped-call]
            total += share.detach() / world
        return self.processes.totals(float(total))[0], targets

    def _read(self, step: int) -> tuple[list[Any], list[int]]:
        """What this process reads of a batch, and how many targets each part has.

        All processes have the same number of parts, as each takes part in every exchange; where
        there is nothing left to read, a part without targets fills the place.
        """
        world, objective, train = self.processes.world, self.job.objective, self.job.train
        indices = self._indices(step)
        size = self.part_size
        mine = np.array_split(indices, world)[self.processes.rank]
        parts = [train.rows(mine[i : i + size]) for i in range(0, len(mine), size)]
        counts = [objective.count(part) for part in parts]
        most = math.ceil(math.ceil(len(indices) / world) / size)
        for _ in range(most - len(parts)):
            parts.append(train.rows(indices[:1]))
            counts.append(0)
        return [pinned(part) for part in parts] if self._on_gpu else parts, counts

    def _clip(self) -> float:
        """Scale the gradients down to the allowed global norm; returns the norm before."""
        return clip(self.model, self.config.optimizer.clip_norm or math.inf)

    def _leave_out(
        self, step: int, indices: NDArray[np.int64], loss: float, grad_norm: float
    ) -> None:
        """Write down an update that cannot be made, and stop if there were too many of them."""
        self.state.skipped += 1
        file = "nowhere, as the run has no folder"
        if self.job.out:
            file = f"nonfinite-step-{step:08d}.json"
            facts = {"step": step, "loss": str(loss), "grad_norm": str(grad_norm)}
            facts["sequences"] = indices.tolist()
            facts["input_ids"] = self.job.train.rows(indices).input_ids.tolist()
            if self.processes.main:
                write_text_atomic(self.job.out / file, json.dumps(facts) + "\n")
        what = (
            f"step {step}: the loss is {loss:g} and the gradient norm {grad_norm:g} on sequences "
            f"{', '.join(map(str, indices[:4]))}{', ...' if len(indices) > 4 else ''} "
            f"(the batch is in {file})"
        )
        if self.state.skipped > self.config.skip_nonfinite:
            raise TrainingError(
                f"{what}; stopped before the update. Try a smaller --lr or a longer warm-up, or "
                "leave such updates out with --skip-nonfinite"
            )
        self.watch.note(f"{what}; left out, {self.state.skipped} so far")

    def _autocast(self) -> AbstractContextManager[None]:
        enabled = self.dtype != torch.float32
        return torch.autocast(self.model.device.type, self.dtype, enabled=enabled)

    def _record(
        self, step: int, figures: tuple[float, float, float | None], targets: int, seconds: float
    ) -> None:
        loss, grad_norm, update_ratio = figures
        self.state.step = step
        self.state.tokens += targets
        self.state.elapsed_s += seconds
        rate = targets / seconds
        mfu = self.utilization.at(rate) if self.utilization else None
        self.watch.update(step, loss, rate, mfu)
        if self._due(self.config.log_every_steps):
            unit = self.job.objective.unit
            self.journal.write(
                step=step,
                loss=loss,
                lr=self.optimizers[-1].param_groups[0]["lr"],
                grad_norm=grad_norm,
                update_ratio=update_ratio,
                **{unit: self.state.tokens, f"{unit}_per_s": round(rate, 1)},
                mfu=None if mfu is None else round(mfu, 4),
                peak_memory_bytes=peak_memory_bytes(self.model.device),
                elapsed_s=round(self.state.elapsed_s, 3),
            )

    def _evaluate_if_due(self) -> None:
        """Validate where that is due and was not done before an interruption."""
        state = self.state
        if state.step == 0:
            if self.job.valid is not None and state.evaluated < 0:
                state.first_loss = self._validate("before training")["valid_loss"]
                state.evaluated = 0
        elif state.evaluated < state.step and self._due(self.config.eval_every_steps):
            self._evaluate()
            state.evaluated = state.step

    def _evaluate(self) -> None:
        """Validate, and keep the weights if they are the best (or, unjudged, the last)."""
        state = self.state
        if self.job.valid is None and self.job.score is None:
            if state.step >= self.total_steps:
                self.job.keep()
            return
        best = state.best_figure
        remark = "" if best is None else f"best {best:.4f} at step {state.best_step}"
        figures = self._validate(remark)
        figure = next(iter(figures.values()))
        if best is None or (figure < best if self.job.score is None else figure > best):
            state.best_figure, state.best_step, state.stale = figure, state.step, 0
            state.best_loss = figures.get("valid_loss")
            self.job.keep()
            if self.config.states.keep_best:
                state.evaluated = state.step
                self._save_state()
        else:
            state.stale += 1

    def _validate(self, remark: str) -> Mapping[str, float]:
        """Figures on the validation data, written down and told."""
        score = self.job.score
        figures = {"valid_loss": self.validation_loss()} if score is None else score()
        self.journal.write(step=self.state.step, **figures)
        told = ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
        told = told.replace("valid loss", "validation loss")
        end = f" ({remark})" if remark else ""
        self.watch.note(f"step {self.state.step}: {told}{end}")
        return figures

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean loss over the validation targets, nats, dropout off."""
        valid = self.job.valid
        if valid is None:
            raise TrainingError("there is no validation data to compute a loss on")
        size = self.part_size
        batches = steps_per_epoch(len(valid), size)
        batches = min(batches, self.config.eval_batches or batches)
        self.model.eval()
        total, targets = 0.0, 0
        for first in range(0, batches, self.processes.world):
            self._leave_if_asked()
            i = first + self.processes.rank
            place = min(i, batches - 1)  # a process without a batch left repeats the last one
            batch = valid.rows(np.arange(place * size, min((place + 1) * size, len(valid))))
            count = self.job.objective.count(batch) if i < batches else 0
            with self._autocast():
                loss = self.job.objective.loss(self.replica, batch.to(self.model.device))
            total += float(loss) * count
            targets += count
        sum_of_losses, all_targets = self.processes.totals(total, targets)
        return sum_of_losses / max(1.0, all_targets)


def total_steps(config: TrainingConfig, sequences: int) -> int:
    """Updates of the whole run.

    Args:
        config: ``max_steps`` where given, else ``epochs``.
        sequences: Of one epoch.

    Returns:
        At least 1.
    """
    if config.max_steps is not None:
        return config.max_steps
    return max(1, round(config.epochs * steps_per_epoch(sequences, config.batch_size)))
