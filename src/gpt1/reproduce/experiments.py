"""The experiments behind the tables: one task, one variant of the model, one seed each.

Each result is a file, so a reproduction that was interrupted goes on where it stopped, and reports
that need the same experiment share it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gpt1.atomic import write_text_atomic
from gpt1.config import ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.predicting import judge, predict
from gpt1.reproduce.baselines import tfidf_baseline
from gpt1.reproduce.paper_settings import PaperConfig
from gpt1.tasks.labels import encode_labels
from gpt1.tasks.reading import Examples, read_split
from gpt1.tasks.splits import TaskData, subset
from gpt1.tasks.task import Task, get_task
from gpt1.training.finetune_task import PAPER, TaskRun

RUNS = "runs"
Told = Callable[[int, int, str], None]
"""Told how many experiments are done, of how many, and which one was the last."""


@dataclass(frozen=True)
class Experiment:
    """One training, or one fit of a baseline.

    Attributes:
        task: Its name.
        variant: "full", "scratch" (no pre-training), "no_lm" (no auxiliary loss), "lstm",
            "transfer-N" (only the embeddings and N blocks are transferred) or "tfidf".
        seed: Of new weights, the order and dropout.
    """

    task: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task}, {self.variant}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        experiment: Which.
        figures: Metrics by split, part and name, as "dev:accuracy" or "test/high:accuracy".
        counts: Examples of each split, "train" among them.
        seconds: It took.
    """

    experiment: Experiment
    figures: Mapping[str, float]
    counts: Mapping[str, int]
    seconds: float


def run_experiments(
    experiments: Sequence[Experiment], config: PaperConfig, out: Path, told: Told
) -> list[Outcome]:
    """Run what has not been run yet.

    Args:
        experiments: To have results of.
        config: Of all of them.
        out: Folder; results are kept in ``runs`` in it.
        told: About the progress.

    Returns:
        The results, in the order of the experiments.

    Raises:
        ConfigError: If a variant needs a model that is not given.
        DataError: If a task's data cannot be read.
    """
    (out / RUNS).mkdir(parents=True, exist_ok=True)
    missing = [e for e in dict.fromkeys(experiments) if not _file(e, config, out).exists()]
    total = len(dict.fromkeys(experiments))
    for number, experiment in enumerate(_done(missing, config, out), start=1):
        told(total - len(missing) + number, total, str(experiment))
    return [_read(experiment, config, out) for experiment in experiments]


def _done(
    experiments: Sequence[Experiment], config: PaperConfig, out: Path
) -> Iterator[Experiment]:
    """Run experiments, here or in processes of one thread each; yields each when it is done."""
    if config.jobs == 1:
        for experiment in experiments:
            _run_and_keep(experiment, config, out)
            yield experiment
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.jobs, spawn, initializer=_one_thread) as pool:
        futures = {pool.submit(_run_and_keep, e, config, out): e for e in experiments}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    torch.set_num_threads(1)


def _run_and_keep(experiment: Experiment, config: PaperConfig, out: Path) -> None:
    outcome = run_experiment(experiment, config)
    record = {"settings": determinants(experiment, config), **asdict(outcome)}
    write_text_atomic(_file(experiment, config, out), json.dumps(record, indent=2) + "\n")


def determinants(experiment: Experiment, config: PaperConfig) -> dict[str, Any]:
    """Everything the result of an experiment depends on, as plain data."""
    settings = asdict(config)
    for name in ("seeds", "jobs", "tasks", "device", "checkpoints", "lstm_checkpoints"):
        del settings[name]
    lstm = settings.pop("lstm")
    if experiment.variant == "lstm":
        settings["model"] = lstm
    if experiment.variant == "tfidf":
        settings = {
            name: settings[name] for name in ("data", "subset", "subset_words", "dev_subset")
        }
    return {**asdict(experiment), **settings}


def _file(experiment: Experiment, config: PaperConfig, out: Path) -> Path:
    text = json.dumps(determinants(experiment, config), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    name = f"{experiment.task}-{experiment.variant}-{experiment.seed}-{digest}.json"
    return out / RUNS / name


def _read(experiment: Experiment, config: PaperConfig, out: Path) -> Outcome:
    stored = json.loads(_file(experiment, config, out).read_text(encoding="utf-8"))
    return Outcome(experiment, stored["figures"], stored["counts"], stored["seconds"])


def run_experiment(experiment: Experiment, config: PaperConfig) -> Outcome:
    """Train and judge one model, or fit and judge a baseline; nothing is written.

    Args:
        experiment: Which.
        config: Data, model, sizes, how it is trained.

    Raises:
        ConfigError: If the variant is unknown, or needs a model that is not given.
        DataError: If the data cannot be read.
    """
    task = get_task(experiment.task)
    splits = read_splits(task, config)
    train, valid = splits.pop("train"), splits["dev"]
    counts = {"train": len(train), **{name: len(split) for name, split in splits.items()}}
    if experiment.variant == "tfidf":
        return Outcome(experiment, tfidf_baseline(task, train, splits), counts, 0.0)
    model, settings = _variant(experiment.variant, config)
    data = TaskData(task=task, train=train.examples, valid=valid.examples)
    run = TaskRun(model, data, settings, _training(experiment, task, config))
    result = run.fit()
    figures: dict[str, float] = {}
    for name, split in splits.items():
        predictions = predict(run.model, run.tokenizer, split.examples)
        for part, numbers in parts(split).items():
            labels = [split.examples[number].label for number in numbers]
            known = encode_labels(labels, run.model.head)
            for metric, value in judge(predictions.select(numbers), known, run.metrics).items():
                figures[f"{name}{part}:{metric}"] = value
    return Outcome(experiment, figures, counts, result.elapsed_s)


def parts(split: Examples) -> dict[str, list[int]]:
    """Numbers of all examples, under "", and of each part of the data, under "/part"."""
    found: dict[str, list[int]] = {"": list(range(len(split)))}
    for number, name in enumerate(split.parts):
        found.setdefault(f"/{name}", []).append(number)
    return found


def _variant(variant: str, config: PaperConfig) -> tuple[str, TaskConfig]:
    """Where a variant starts from, and what is different about it."""
    settings = TaskConfig(pdrop=config.pdrop)
    if variant == "lstm":
        if config.lstm is None:
            raise ConfigError(
                "the LSTM of table 5 has to be pre-trained first: gpt1 pretrain --config "
                "recipes/lstm.yaml; name its folder with --lstm"
            )
        return config.lstm, settings
    kept, _, number = variant.partition("-")
    changes: dict[str, dict[str, Any]] = {
        "full": {},
        "scratch": {"transfer_layers": -1},
        "no_lm": {"lm_coef": 0.0},
        "transfer": {"transfer_layers": int(number or 0)},
    }
    if kept not in changes:
        raise ConfigError(f"there is no variant {variant!r}; there are {', '.join(changes)}, lstm")
    return config.model, replace(settings, **changes[kept])


def _training(experiment: Experiment, task: Task, config: PaperConfig) -> TrainingConfig:
    return replace(
        PAPER,
        lr=config.lr,
        epochs=config.epochs or task.epochs,
        batch_size=config.batch_size,
        micro_batch_size=config.micro_batch_size,
        seed=experiment.seed,
        device=config.device,
        precision=config.precision,
        schedule=ScheduleConfig(warmup_fraction=config.warmup_fraction),
    )


def read_splits(task: Task, config: PaperConfig) -> dict[str, Examples]:
    """The splits a task is trained, chosen and judged on, cut to the sizes asked for.

    "train" and "dev" are always among them; others of the paper's table if the data has them.

    Raises:
        DataError: If "train" or "dev" cannot be read.
    """
    wanted = dict.fromkeys(["train", "dev", *(result.split for result in task.results)])
    found: dict[str, Examples] = {}
    for split in wanted:
        try:
            examples = _labelled(task.name, config.data, split)
        except DataError:
            if split in ("train", "dev"):
                raise
            continue
        size = config.subset if split == "train" else config.dev_subset
        if split == "train" and config.subset_words is not None:
            size = _examples_of(examples, config.subset_words)
        found[split] = examples.select(subset(range(len(examples)), size))
    return found


def _examples_of(examples: Examples, words: int) -> int:
    """How many examples of average length have so many words; both orders of two texts count."""
    read = sum(
        len(part.split()) * (2 if example.layout == "similarity" else 1)
        for example in examples.examples
        for segment in example.segments
        for part in segment
    )
    return max(1, round(words * len(examples) / read))


@lru_cache(maxsize=4)
def _labelled(task: str, data: str, split: str) -> Examples:
    examples = read_split(get_task(task), data, split)
    return examples.select([n for n, e in enumerate(examples.examples) if e.label is not None])


def plan(
    tasks: Iterable[str], variants: Sequence[str], seeds: int, first_seed: int = 42
) -> list[Experiment]:
    """All experiments of some tasks and variants: first every task with one seed, then the next.

    A baseline has no seed, so it is there once.
    """
    tasks = list(tasks)
    return [
        Experiment(task, variant, first_seed + number)
        for number in range(seeds)
        for task in tasks
        for variant in variants
        if number == 0 or variant != "tfidf"
    ]
