"""Several runs of one task: k seeds, and a grid of learning rates; the best model is kept.

A run that is complete is not done again, so an interrupted series goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from gpt1.atomic import atomic_folder, write_text_atomic
from gpt1.config import TaskConfig, TrainingConfig
from gpt1.errors import ConfigError
from gpt1.tasks.splits import TaskData
from gpt1.training.finetune_task import PAPER, RESULT, finetune_task, run_settings
from gpt1.training.run import begun, check_folder, write_settings
from gpt1.training.tracking import LogWatcher, Watcher

TRIALS = "trials.json"


@dataclass(frozen=True)
class Trial:
    """One run of a series.

    Attributes:
        lr: Its learning rate.
        seed: Its seed.
        out: Its folder.
        metrics: On the validation examples, the one that decides first.
    """

    lr: float
    seed: int
    out: Path
    metrics: Mapping[str, float]

    @property
    def figure(self) -> float:
        """The metric that decides."""
        return next(iter(self.metrics.values()))


@dataclass(frozen=True)
class Trials:
    """What came of a series.

    Attributes:
        trials: All complete runs.
        complete: False if the series was interrupted and can be resumed.
        preempted: Whether that was by SIGTERM.
    """

    trials: Sequence[Trial]
    complete: bool
    preempted: bool = False

    def of_rate(self, lr: float) -> list[Trial]:
        """The runs with a learning rate."""
        return [trial for trial in self.trials if trial.lr == lr]

    @property
    def best_lr(self) -> float:
        """The rate with the best median over its seeds."""
        return max(
            dict.fromkeys(trial.lr for trial in self.trials),
            key=lambda lr: median(trial.figure for trial in self.of_rate(lr)),
        )

    @property
    def best(self) -> Trial:
        """The best run of the best rate."""
        return max(self.of_rate(self.best_lr), key=lambda trial: trial.figure)

    def table(self) -> dict[str, str]:
        """For people: a line for every rate and metric, and which run was kept."""
        lines = {
            f"lr {rate['lr']:g}, {name}": "{median:.4f} ({min:.4f} to {max:.4f})".format(**figures)
            for rate in self.as_dict()["rates"]
            for name, figures in rate.items()
            if name != "lr"
        }
        if self.complete:
            lines["kept"] = f"lr {self.best.lr:g}, seed {self.best.seed}"
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON: each rate with the median and the spread of every metric."""
        rates = dict.fromkeys(trial.lr for trial in self.trials)
        return {
            "complete": self.complete,
            "rates": [{"lr": lr, **spread([t.metrics for t in self.of_rate(lr)])} for lr in rates],
            "best": {"lr": self.best_lr, "seed": self.best.seed, **self.best.metrics}
            if self.trials
            else None,
            "trials": [{"lr": t.lr, "seed": t.seed, **t.metrics} for t in self.trials],
        }


def spread(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Median, least and most of every metric of several runs.

    Args:
        runs: Metrics of each; all have the same.
    """
    return {
        name: {
            "median": median(run[name] for run in runs),
            "min": min(run[name] for run in runs),
            "max": max(run[name] for run in runs),
        }
        for name in runs[0]
    }


def run_trials(  # noqa: PLR0913 (options of the public interface, by keyword)
    model: str | Path,
    data: TaskData,
    out: str | Path,
    config: TaskConfig | None = None,
    training: TrainingConfig = PAPER,
    *,
    seeds: int = 1,
    lr_grid: Sequence[float] = (),
    resume: bool = False,
    watch: Watcher | None = None,
) -> Trials:
    """Fine-tune a model once with every learning rate and seed.

    Args:
        model: Where to start from.
        data: Examples; there must be validation examples, which decide.
        out: Folder of the series: a folder of each run in ``trials``, their figures in
            ``trials.json``, and at its top the best model.
        config: As for `finetune_task`.
        training: As for `finetune_task`.
        seeds: How many; the first is that of ``training``.
        lr_grid: Learning rates; empty: that of ``training``.
        resume: Continue the series in ``out``.
        watch: Told about the training.

    Returns:
        What came of it.

    Raises:
        ConfigError: If there are no validation examples, or as `finetune_task` does.
    """
    config, watch = config or TaskConfig(), watch or LogWatcher()
    if not data.valid:
        raise ConfigError("several runs are compared on validation examples, but there are none")
    if seeds < 1 or not all(lr > 0 for lr in lr_grid):
        raise ConfigError(
            f"seeds is {seeds} and lr_grid {list(lr_grid)}, but there must be at least one seed, "
            "and rates must be above 0"
        )
    settings = {
        **run_settings(model, data, config, training),
        "seeds": seeds,
        "lr_grid": list(lr_grid),
    }
    out = check_folder(out, settings, resume=resume)
    write_settings(out, settings)
    plans = [
        replace(training, lr=lr, seed=training.seed + number)
        for lr in lr_grid or [training.lr]
        for number in range(seeds)
    ]
    trials: list[Trial] = []
    preempted = False
    for number, plan in enumerate(plans, start=1):
        watch.note(f"run {number} of {len(plans)}: lr {plan.lr:g}, seed {plan.seed}")
        folder = out / "trials" / f"lr-{plan.lr:g}-seed-{plan.seed}"
        metrics = _metrics(folder)
        if metrics is None:
            resume = begun(folder)
            result = finetune_task(model, data, folder, config, plan, resume=resume, watch=watch)
            preempted = result.preempted
            if not result.complete:
                break
            shutil.rmtree(folder / "state", ignore_errors=True)  # a complete run needs it no more
            metrics = result.metrics
        trials.append(Trial(plan.lr, plan.seed, folder, metrics))
    series = Trials(trials, complete=len(trials) == len(plans), preempted=preempted)
    write_text_atomic(out / TRIALS, json.dumps(series.as_dict(), indent=2) + "\n")
    if series.complete:
        _publish(series.best.out, out)
    return series


def _metrics(folder: Path) -> Mapping[str, float] | None:
    """Of a run that is complete, else None."""
    if not (folder / RESULT).exists():
        return None
    stored = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    metrics: Mapping[str, float] = stored["metrics"]
    return metrics


def _publish(best: Path, out: Path) -> None:
    """Copy the model of a run to the top of the series."""
    with atomic_folder(out) as temporary:
        for file in best.iterdir():
            if file.is_file() and file.name != "run.yaml":
                shutil.copyfile(file, temporary / file.name)
