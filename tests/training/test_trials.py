"""Several runs of one task: spread, the best rate, and going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gpt1.config import TrainingConfig
from gpt1.errors import ConfigError
from gpt1.task_checkpoint import load_task_model
from gpt1.tasks.example import text
from gpt1.tasks.splits import TaskData
from gpt1.tasks.task import Task
from gpt1.training import trials
from gpt1.training.trials import Trial, Trials, run_trials, spread

EXAMPLES = [
    text(f"{who} {does} the {what}", what)
    for who in ("anna", "bob", "carl")
    for does in ("sees", "hides")
    for what in ("cat", "car")
]
TASK = Task(name="mine", transform=lambda row: text(row["text"], row["label"]))
DATA = TaskData(task=TASK, train=EXAMPLES[:8], valid=EXAMPLES[8:], source={"data": "here"})
QUICK = TrainingConfig(max_steps=2, batch_size=4, eval_every_steps=0)


def trial(lr: float, seed: int, accuracy: float) -> Trial:
    return Trial(lr, seed, Path(f"{lr}-{seed}"), {"accuracy": accuracy, "valid_loss": 1.0})


def test_the_rate_with_the_best_median_wins_and_its_best_run_is_kept() -> None:
    of_lr = {0.1: [0.5, 0.9, 0.5], 0.2: [0.6, 0.7, 0.8]}
    runs = [trial(lr, seed, a) for lr, row in of_lr.items() for seed, a in enumerate(row)]
    series = Trials(runs, complete=True)
    assert series.best_lr == 0.2
    assert (series.best.lr, series.best.seed) == (0.2, 2)
    told = series.as_dict()
    assert told["rates"][0]["accuracy"] == {"median": 0.5, "min": 0.5, "max": 0.9}
    assert told["best"] == {"lr": 0.2, "seed": 2, "accuracy": 0.8, "valid_loss": 1.0}


def test_the_spread_of_one_run_is_itself() -> None:
    assert spread([{"f1": 0.5}]) == {"f1": {"median": 0.5, "min": 0.5, "max": 0.5}}


def test_a_series_runs_every_rate_with_every_seed_and_keeps_the_best(
    base_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "series"
    series = run_trials(base_model, DATA, out, training=QUICK, seeds=2, lr_grid=[0.01, 0.001])
    assert [(t.lr, t.seed) for t in series.trials] == [
        (0.01, 42),
        (0.01, 43),
        (0.001, 42),
        (0.001, 43),
    ]
    assert json.loads((out / "trials.json").read_text()) == series.as_dict()
    best, _ = load_task_model(series.best.out)
    top, _ = load_task_model(out)
    assert torch.equal(best.score.weight, top.score.weight)
    assert not list(out.rglob("state"))


def test_complete_runs_are_not_done_again(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "series"
    done = trials.finetune_task
    ran: list[str] = []

    def failing(model: object, data: object, folder: Path, *args: object, **kw: object) -> object:
        ran.append(folder.name)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return done(model, data, folder, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(trials, "finetune_task", failing)
    with pytest.raises(KeyboardInterrupt):
        run_trials(base_model, DATA, out, training=QUICK, seeds=3)
    with pytest.raises(ConfigError, match="was started with other settings: seeds was 3 and is 2"):
        run_trials(base_model, DATA, out, training=QUICK, seeds=2, resume=True)
    series = run_trials(base_model, DATA, out, training=QUICK, seeds=3, resume=True)
    assert ran == [f"lr-6.25e-05-seed-{seed}" for seed in (42, 43, 43, 44)]
    assert series.complete


def test_a_series_needs_something_to_compare_by(base_model: Path, tmp_path: Path) -> None:
    data = TaskData(task=TASK, train=EXAMPLES)
    with pytest.raises(ConfigError, match="compared on validation examples, but there are none"):
        run_trials(base_model, data, tmp_path / "a", seeds=2)
    with pytest.raises(ConfigError, match=r"seeds is 0 and lr_grid \[\], but there must be"):
        run_trials(base_model, DATA, tmp_path / "a", seeds=0)
