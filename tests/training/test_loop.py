"""The loop: same updates however it is cut, stopped and resumed; best weights kept."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gpt1.config import OptimizerConfig, ScheduleConfig, TrainingConfig
from gpt1.data.batches import PackedRows, TokenWindows
from gpt1.errors import TrainingError
from gpt1.model import GPT, IGNORED
from gpt1.training.loop import Job, Trainer, total_steps
from gpt1.training.objectives import LanguageModeling
from gpt1.training.tracking import LogWatcher, read_metrics

NO_DROPOUT = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
TIMES = ("elapsed_s", "tokens_per_s", "mfu", "peak_memory_bytes")


class Recorder:
    """A watcher that notes what it is told, and acts at a step (None: at each)."""

    def __init__(self, at: int | None = 0, act: Callable[[], None] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.at = at
        self.act = act

    def advance(self, doing: str, done: int, total: int) -> None:
        self.calls.append(("advance", doing, done, total))

    def start(self, step: int, total_steps: int, unit: str) -> None:
        self.calls.append(("start", step, total_steps))

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        self.calls.append(("update", step))
        if self.at in (step, None) and self.act:
            self.act()

    def note(self, message: str) -> None:
        self.calls.append(("note", message))

    def stop(self) -> None:
        self.calls.append(("stop",))


class Run:
    """A model, the trainer of it, and the weights that were kept with their steps."""

    def __init__(
        self,
        model: GPT,
        train: PackedRows,
        valid: PackedRows | None,
        out: Path,
        *,
        watch: Recorder | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> None:
        self.model = model
        self.kept: list[tuple[int, dict[str, Tensor]]] = []
        job = Job(train=train, valid=valid, objective=LanguageModeling(), out=out, keep=self.keep)
        config = TrainingConfig(**{"lr": 0.01, "batch_size": 4, "log_every_steps": 1, **settings})
        self.trainer = Trainer(model, config, job, watch=watch or Recorder(), resume=resume)

    def keep(self) -> None:
        weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.kept.append((self.trainer.state.step, weights))

    def fit(self) -> bool:
        return self.trainer.fit()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return read_metrics(self.trainer.journal.metrics.path)


Start = Callable[..., Run]


@pytest.fixture
def start(
    tmp_path: Path, new_model: Callable[..., GPT], counting: Callable[..., PackedRows]
) -> Start:
    """Makes a run in a folder of ``tmp_path``."""

    def make(
        name: str = "run",
        *,
        train: PackedRows | None = None,
        valid: bool = True,
        model: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Run:
        (tmp_path / name).mkdir(exist_ok=True)
        network, held_out = new_model(**(model or {})), counting(12, seed=1) if valid else None
        return Run(network, train or counting(40), held_out, tmp_path / name, **settings)

    return make


def assert_same_weights(first: GPT, second: GPT, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(
        first.state_dict(), second.state_dict(), rtol=tolerance, atol=tolerance
    )


def timeless(run: Run) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Metrics and counters of a run without what a clock said."""
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in run.metrics]
    return rows, {k: v for k, v in asdict(run.trainer.state).items() if k not in TIMES}


# Learning


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_lowers_both_losses(start: Start, precision: str, optimizer: Any) -> None:
    run = start(
        max_steps=40,
        precision=precision,
        optimizer=OptimizerConfig(name=optimizer, muon_lr=0.03),
        activation_checkpointing=True,
    )
    assert run.fit()
    losses = [row["loss"] for row in run.metrics if "loss" in row]
    assert losses[-1] < 0.7 * losses[0]
    assert run.trainer.state.first_loss is not None
    assert run.trainer.state.best_loss is not None
    assert run.trainer.state.best_loss < 0.7 * run.trainer.state.first_loss
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("micro_batch_size", [1, 3, 8])
def test_the_update_does_not_depend_on_the_size_of_its_parts(
    start: Start, counting: Callable[..., PackedRows], micro_batch_size: int
) -> None:
    rows = counting(40)
    for row, labels in enumerate(rows.packed.labels):
        labels[: 3 * (row % 7)] = IGNORED
    counts = {LanguageModeling().count(rows.rows(np.array([row]))) for row in range(len(rows))}
    assert len(counts) > 4, "the parts must have unequal numbers of targets"
    assert min(counts) == 0, "a part may have no target at all"

    # Where a gradient is nearly zero, Adam divides rounding errors by each other but for epsilon.
    settings = {
        "train": rows,
        "max_steps": 4,
        "batch_size": 5,
        "model": NO_DROPOUT,
        "optimizer": OptimizerConfig(epsilon=1e-3),
    }
    whole, parts = (
        start("whole", **settings),
        start("parts", micro_batch_size=micro_batch_size, **settings),
    )
    assert whole.fit()
    assert parts.fit()
    assert_same_weights(whole.model, parts.model, 1e-5)
    for one, other in zip(whole.metrics, parts.metrics, strict=True):
        for key in one.keys() - set(TIMES):
            assert one[key] == pytest.approx(other[key], rel=1e-4), key
    assert whole.trainer.state.tokens == parts.trainer.state.tokens


def test_activation_checkpointing_changes_nothing_but_memory(start: Start) -> None:
    runs = [
        start(name, max_steps=3, activation_checkpointing=name == "on") for name in ("on", "off")
    ]
    assert [run.fit() for run in runs] == [True, True]
    assert runs[0].model.activation_checkpointing
    assert_same_weights(runs[0].model, runs[1].model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler, about itself
def test_compiled_blocks_make_the_same_updates(start: Start) -> None:
    settings = {"max_steps": 4, "model": NO_DROPOUT, "optimizer": OptimizerConfig(epsilon=1e-3)}
    plain, compiled = (start(str(on), compile=on, **settings) for on in (False, True))
    assert plain.fit()
    assert compiled.fit()
    assert compiled.model.h[0]._compiled_call_impl is not None
    assert_same_weights(plain.model, compiled.model, 1e-5)
    losses = [[row["loss"] for row in run.metrics if "loss" in row] for run in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(("model", "differ"), [({}, True), (NO_DROPOUT, False)])
def test_every_step_draws_new_dropout_masks(
    start: Start, model: dict[str, Any], differ: bool
) -> None:
    run = start(max_steps=2, lr=0.0, batch_size=100, model=model, valid=False)
    run.fit()
    first, second = (row["loss"] for row in run.metrics)
    assert (abs(first - second) > 1e-4) is differ


def test_validating_more_often_does_not_change_the_training(start: Start) -> None:
    often, once = (start(str(every), max_steps=5, eval_every_steps=every) for every in (1, 0))
    assert often.fit()
    assert once.fit()
    assert_same_weights(often.model, once.model)


def test_another_seed_is_another_run(start: Start) -> None:
    first, again, other = (
        start(name, max_steps=3, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for run in (first, again, other):
        run.fit()
    assert_same_weights(first.model, again.model)
    assert not torch.equal(first.model.tokens_embed.weight, other.model.tokens_embed.weight)


def test_windows_of_a_stream_are_trained_on_as_well(
    new_model: Callable[..., GPT], tmp_path: Path
) -> None:
    stream = (np.arange(800) % 40).astype(np.uint16)
    job = Job(
        train=TokenWindows([stream], 16),
        valid=None,
        objective=LanguageModeling(),
        out=tmp_path,
        keep=lambda: None,
    )
    config = TrainingConfig(lr=0.01, max_steps=20, batch_size=8, log_every_steps=1)
    assert Trainer(new_model(), config, job).fit()
    losses = [row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]


# Metrics and validation


def test_a_line_of_metrics_says_how_the_update_went(start: Start) -> None:
    schedule = ScheduleConfig(name="linear", warmup_steps=0)
    run = start(max_steps=4, valid=False, schedule=schedule)
    run.fit()
    assert [row["step"] for row in run.metrics] == [1, 2, 3, 4]
    assert [row["lr"] for row in run.metrics] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
    tokens = [row["tokens"] for row in run.metrics]
    batches = [run.trainer.job.train.rows(run.trainer._indices(step)) for step in (1, 2, 3, 4)]
    counts = [LanguageModeling().count(batch) for batch in batches]
    assert tokens == np.cumsum(counts).tolist()
    assert all(row["grad_norm"] > 0 and row["tokens_per_s"] > 0 for row in run.metrics)


def test_metrics_are_written_every_so_many_steps_and_at_the_end(start: Start) -> None:
    run = start(max_steps=7, log_every_steps=3, eval_every_steps=5)
    run.fit()
    assert [row["step"] for row in run.metrics if "loss" in row] == [3, 6, 7]
    assert [row["step"] for row in run.metrics if "valid_loss" in row] == [0, 5, 7]


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_the_validation_loss_is_the_mean_over_all_targets(
    start: Start, micro_batch_size: int | None
) -> None:
    run = start(max_steps=1, micro_batch_size=micro_batch_size)
    rows = run.trainer.job.valid
    assert isinstance(rows, PackedRows)
    assert len(rows) > 4, "more than one batch"
    with torch.no_grad():
        expected = LanguageModeling().loss(run.model.eval(), rows.rows(np.arange(len(rows))))
    assert run.trainer.validation_loss() == pytest.approx(float(expected), rel=1e-5)


def test_validation_may_be_cut_to_a_number_of_batches(start: Start) -> None:
    run = start(max_steps=1, batch_size=2, eval_batches=1)
    rows = run.trainer.job.valid
    assert isinstance(rows, PackedRows)
    with torch.no_grad():
        expected = LanguageModeling().loss(run.model.eval(), rows.rows(np.arange(2)))
    assert run.trainer.validation_loss() == pytest.approx(float(expected), rel=1e-5)


def test_there_is_no_validation_loss_without_validation_data(start: Start) -> None:
    with pytest.raises(TrainingError, match="there is no validation data to compute a loss on"):
        start(max_steps=1, valid=False).trainer.validation_loss()


def test_the_watcher_is_told_everything_in_order(start: Start) -> None:
    run = start(max_steps=3, eval_every_steps=2, watch=(recorder := Recorder()))
    run.fit()
    losses = {row["step"]: f"{row['valid_loss']:.4f}" for row in run.metrics if "valid_loss" in row}
    assert recorder.calls == [
        ("start", 0, 3),
        ("note", f"step 0: validation loss {losses[0]} (before training)"),
        ("update", 1),
        ("update", 2),
        ("note", f"step 2: validation loss {losses[2]}"),
        ("update", 3),
        ("note", f"step 3: validation loss {losses[3]} (best {losses[2]} at step 2)"),
        ("stop",),
    ]


def test_without_a_watcher_the_log_is_told(start: Start, tmp_path: Path) -> None:
    run = start(max_steps=1)
    trainer = Trainer(run.model, run.trainer.config, run.trainer.job)
    assert isinstance(trainer.watch, LogWatcher)


# What is kept, and when to stop


def test_the_weights_with_the_lowest_validation_loss_are_kept_not_the_last(
    start: Start, counting: Callable[..., PackedRows]
) -> None:
    # Which tokens there are is learnt first; then that the next is another than in validation.
    run = start(train=counting(40, by=3), max_steps=30, eval_every_steps=2, lr=0.03)
    run.fit()
    rows = [(row["valid_loss"], row["step"]) for row in run.metrics if "valid_loss" in row][1:]
    best_loss, best_step = min(rows)
    assert best_step < 30
    assert run.kept[-1][0] == best_step
    assert (run.trainer.state.best_loss, run.trainer.state.best_step) == (best_loss, best_step)
    assert [step for step, _ in run.kept] == [
        step for i, (loss, step) in enumerate(rows) if loss < min([np.inf, *dict(rows[:i])])
    ]
    run.model.load_state_dict(run.kept[-1][1])
    assert run.trainer.validation_loss() == best_loss


def test_without_validation_data_the_last_weights_are_kept_once(start: Start) -> None:
    run = start(max_steps=4, valid=False, eval_every_steps=1)
    run.fit()
    ((step, weights),) = run.kept
    assert step == 4
    torch.testing.assert_close(weights, run.model.state_dict(), rtol=0, atol=0)


def test_patience_ends_a_run_whose_validation_loss_no_longer_falls(start: Start) -> None:
    settings = {"max_steps": 50, "eval_every_steps": 2, "patience": 3, "lr": 0.0}
    run = start(**settings)
    assert run.fit()
    state = run.trainer.state
    assert (state.step, state.best_step, state.stale) == (8, 2, 3)
    again = start(resume=True, **settings)
    assert again.fit(), "a run that is over stays over"
    assert again.trainer.state.step == 8


def test_a_trained_model_is_left_in_evaluation_mode(start: Start) -> None:
    run = start(max_steps=1)
    run.fit()
    assert not run.model.training


# Stopping and resuming


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_interrupted_and_resumed_run_equals_one_that_never_stopped(
    start: Start, optimizer: Any
) -> None:
    settings = {
        "max_steps": 9,
        "eval_every_steps": 2,
        "save_every_steps": 0,
        "optimizer": OptimizerConfig(name=optimizer),
    }
    whole = start("whole", **settings)
    assert whole.fit()
    watch = Recorder(4, lambda: signal.raise_signal(signal.SIGINT))
    first = start("cut", watch=watch, **settings)
    assert not first.fit()
    assert watch.calls[-1] == ("stop",)
    assert first.trainer.state.step == 4
    second = start("cut", resume=True, model={"seed": 5}, watch=(watch := Recorder()), **settings)
    assert second.fit()
    assert watch.calls[0] == ("start", 4, 9)
    assert_same_weights(whole.model, second.model)
    assert timeless(second) == timeless(whole)
    kept = dict(first.kept + second.kept)
    assert kept.keys() == {step for step, _ in whole.kept}
    torch.testing.assert_close(kept, dict(whole.kept), rtol=0, atol=0)


def test_a_run_that_died_between_two_saves_repeats_what_was_lost(start: Start) -> None:
    settings = {"max_steps": 8, "eval_every_steps": 3, "save_every_steps": 2}
    whole = start("whole", **settings)
    assert whole.fit()

    def die() -> None:
        raise ZeroDivisionError

    died = start("died", watch=(watch := Recorder(5, die)), **settings)
    with pytest.raises(ZeroDivisionError):
        died.fit()
    assert watch.calls[-1] == ("stop",)
    assert died.metrics[-1]["step"] == 4, "the line of step 5 had not been written yet"
    died.trainer.journal.write(step=5, loss=99.0)
    resumed = start("died", resume=True, model={"seed": 5}, **settings)
    assert [row["step"] for row in resumed.metrics][-1] == 4
    assert resumed.fit()
    assert_same_weights(whole.model, resumed.model)
    assert timeless(resumed) == timeless(whole)


def test_a_second_interrupt_leaves_at_once(start: Start) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    run = start(max_steps=5, watch=(watch := Recorder(2, twice)))
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    assert watch.calls[-1] == ("stop",)
    assert not (run.trainer.state_folder / "latest").exists()
    assert not run.model.training


def test_after_an_interrupt_in_the_last_step_the_validation_is_left_to_do(start: Start) -> None:
    run = start(max_steps=2, watch=Recorder(2, lambda: signal.raise_signal(signal.SIGINT)))
    assert not run.fit()
    assert not run.kept
    resumed = start(max_steps=2, resume=True)
    assert resumed.fit()
    assert [step for step, _ in resumed.kept] == [2]
    assert [row["step"] for row in resumed.metrics if "valid_loss" in row] == [0, 2]


def test_a_request_to_stop_does_not_wait_for_the_parts_of_an_update(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 4, "micro_batch_size": 1, "eval_every_steps": 0}
    whole, run = start("whole", **settings), start("cut", **settings)
    assert whole.fit()
    parts = 0

    def count(model: Any, batch: Any) -> Tensor:
        nonlocal parts
        parts += 1
        if model.training and run.trainer.state.step == 2 and not run.trainer.stop.requested:
            signal.raise_signal(signal.SIGTERM)
            parts = 0
        return LanguageModeling().loss(model, batch)

    monkeypatch.setattr(run.trainer.job.objective, "loss", count, raising=False)
    assert not run.fit()
    assert parts == 0, "no further part was computed"
    assert run.trainer.stop.preempted
    assert run.trainer.state.step == 2
    resumed = start("cut", resume=True, **settings)
    assert resumed.fit()
    assert_same_weights(whole.model, resumed.model)
    assert timeless(resumed) == timeless(whole)


def test_a_request_to_stop_does_not_wait_for_the_validation(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"max_steps": 4, "micro_batch_size": 1, "eval_every_steps": 2}
    whole, run = start("whole", **settings), start("cut", **settings)
    assert whole.fit()

    def interrupt(model: Any, batch: Any) -> Tensor:
        if not model.training and run.trainer.state.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return LanguageModeling().loss(model, batch)

    monkeypatch.setattr(run.trainer.job.objective, "loss", interrupt, raising=False)
    assert not run.fit()
    assert (run.trainer.state.step, run.trainer.state.evaluated) == (2, 0)
    resumed = start("cut", resume=True, **settings)
    assert resumed.fit()
    assert_same_weights(whole.model, resumed.model)
    assert timeless(resumed) == timeless(whole)


def test_the_state_is_saved_every_so_many_steps_and_at_the_end(start: Start) -> None:
    latest = start().trainer.state_folder / "latest"
    seen: list[str] = []
    watch = Recorder(None, lambda: seen.append(latest.read_text() if latest.exists() else ""))
    assert start(max_steps=7, save_every_steps=3, watch=watch).fit()
    assert seen == [""] * 3 + ["step-00000003"] * 3 + ["step-00000006"]
    assert latest.read_text() == "step-00000007"


# Failing


def break_weights(run: Run) -> None:
    with torch.no_grad():
        run.model.h[1].mlp.c_fc.weight[0, 0] = torch.inf


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_step_and_batch(
    start: Start,
) -> None:
    run = start(max_steps=5, eval_every_steps=0, valid=False)
    break_weights(run)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    indices = run.trainer._indices(1).tolist()
    message = (
        f"step 1: the loss is nan and the gradient norm nan on sequences {str(indices)[1:-1]} "
        "(the batch is in nonfinite-step-00000001.json); stopped before the update. Try"
    )
    with pytest.raises(TrainingError, match=re.escape(message)):
        run.fit()
    torch.testing.assert_close(run.model.state_dict(), before, rtol=0, atol=0, equal_nan=True)
    assert run.metrics == []
    assert run.trainer.state.step == 0
    dumped = json.loads((run.trainer.job.out / "nonfinite-step-00000001.json").read_text())
    rows = run.trainer.job.train.rows(np.array(indices))
    assert dumped == {
        "step": 1,
        "loss": "nan",
        "grad_norm": "nan",
        "sequences": indices,
        "input_ids": rows.input_ids.tolist(),
    }


class Sometimes(LanguageModeling):
    """Language modelling whose loss or gradient is not finite in certain batches."""

    def __init__(self, bad: dict[int, str]) -> None:
        self.bad = bad
        self.batch = 0

    def loss(self, model: GPT, batch: Any) -> Tensor:
        loss = super().loss(model, batch)
        if model.training:
            self.batch += 1
        kind = self.bad.get(self.batch) if model.training else None
        if kind == "loss":
            return loss * torch.inf
        if kind == "gradient":  # the loss is finite, its derivative is not
            return (
                loss
                + model.positions_embed.weight[0, :1]
                .sub(model.positions_embed.weight[0, :1].detach())
                .abs()
                .sqrt()
                .sum()
            )
        return loss


def test_updates_that_are_not_finite_can_be_left_out_and_are_counted(start: Start) -> None:
    watch = Recorder()
    run = start(max_steps=6, eval_every_steps=0, skip_nonfinite=2, watch=watch)
    objective = Sometimes({2: "loss", 5: "gradient"})
    run.trainer.job = replace(run.trainer.job, objective=objective)
    kept: dict[int, dict[str, Tensor]] = {}
    watch.at, watch.act = (
        None,
        lambda: kept.update(
            {run.trainer.state.step: {n: t.clone() for n, t in run.model.state_dict().items()}}
        ),
    )
    assert run.fit()
    assert run.trainer.state.skipped == 2
    for step, changed in ((2, False), (3, True), (5, False), (6, True)):
        same = all(torch.equal(kept[step][name], kept[step - 1][name]) for name in kept[step])
        assert same is not changed, step
    notes = [call[1] for call in watch.calls if call[0] == "note" and "left out" in call[1]]
    assert [note.rsplit("; ", 1)[1] for note in notes] == [
        "left out, 1 so far",
        "left out, 2 so far",
    ]


def test_more_updates_that_are_not_finite_than_allowed_end_the_run(start: Start) -> None:
    run = start(max_steps=6, eval_every_steps=0, skip_nonfinite=1)
    objective = Sometimes({2: "loss", 4: "loss"})
    run.trainer.job = replace(run.trainer.job, objective=objective)
    with pytest.raises(TrainingError, match=r"step 4: .* stopped before the update"):
        run.fit()
    assert run.trainer.state.step == 3


# How long


@pytest.mark.parametrize(
    ("settings", "sequences", "steps"),
    [
        ({"max_steps": 7, "epochs": 99.0}, 10, 7),
        ({"epochs": 3.0, "batch_size": 5}, 10, 6),
        ({"epochs": 3.0, "batch_size": 4}, 10, 9),
        ({"epochs": 0.5, "batch_size": 1}, 10, 5),
        ({"epochs": 0.01, "batch_size": 5}, 10, 1),
        ({"epochs": 2.0, "batch_size": 50}, 10, 2),
    ],
)
def test_a_run_has_so_many_steps_or_so_many_epochs(
    settings: dict[str, Any], sequences: int, steps: int
) -> None:
    assert total_steps(TrainingConfig(**settings), sequences) == steps


def test_metrics_are_json_lines(start: Start) -> None:
    run = start(max_steps=2)
    run.fit()
    lines = run.trainer.journal.metrics.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == run.metrics
