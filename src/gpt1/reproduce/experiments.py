"""The experiments behind the tables: one task, one variant of the model, one seed each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from gpt1 import __version__
from gpt1.config import ScheduleConfig, TaskConfig, TrainingConfig
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.predicting import judge, predict
from gpt1.reproduce.baselines import baseline_scores
from gpt1.reproduce.digests import data_digest, model_digest
from gpt1.reproduce.paper_settings import ReproduceConfig
from gpt1.reproduce.runs import Outcome
from gpt1.tasks.labels import encode_labels
from gpt1.tasks.reading import Examples, read_split
from gpt1.tasks.splits import TaskData, subset
from gpt1.tasks.task import Task, get_task
from gpt1.training.finetune_task import PAPER, TaskRun
from gpt1.training.tracking import Watcher

BASELINES = ("tfidf", "majority")
"""Variants without a network; they have no seed and no learning rate."""


@dataclass(frozen=True)
class Experiment:
    """One training, or one fit of a baseline: a `gpt1.reproduce.runs.Work`.

    Attributes:
        task: Its name.
        variant: "full", "scratch" (no pre-training), "no_lm" (no auxiliary loss), "lstm",
            "transfer-N" (only the embeddings and N blocks are transferred), "tfidf" or "majority".
        seed: Of new weights, the order and dropout.
        lr: Peak learning rate.
        config: The rest; its defaults are filled in.
    """

    task: str
    variant: str
    seed: int
    lr: float
    config: ReproduceConfig

    @property
    def name(self) -> str:
        """Short, for people and files."""
        seed = "" if self.variant in BASELINES else f"-lr{self.lr:g}-seed{self.seed}"
        return f"{self.task}-{self.variant}{seed}"

    def determinants(self) -> dict[str, Any]:
        """Everything the result depends on, as plain data."""
        config = self.config
        read = {
            "gpt1": __version__,
            "task": self.task,
            "variant": self.variant,
            "data": data_digest(config.data, self.task, splits_of(get_task(self.task))),
            "subset": config.subset,
            "subset_words": config.subset_words,
            "dev_subset": config.dev_subset,
        }
        if self.variant in BASELINES:
            return read
        names = ("batch_size", "micro_batch_size", "warmup_fraction", "pdrop", "precision")
        return {
            **read,
            "model": model_digest(self.start),
            "seed": self.seed,
            "lr": self.lr,
            "epochs": config.epochs or get_task(self.task).epochs,
            **{name: getattr(config, name) for name in names},
        }

    @property
    def start(self) -> str:
        """The model that is fine-tuned.

        Raises:
            ConfigError: If it is the LSTM and none is given.
        """
        if self.variant != "lstm":
            return self.config.model
        if self.config.lstm is None:
            raise ConfigError(
                "the LSTM of table 5 has to be pre-trained first: gpt1 pretrain --config "
                "recipes/lstm.yaml; name its folder with --lstm"
            )
        return self.config.lstm

    def run(self, watch: Watcher) -> Outcome:
        """Train and judge one model, or fit and judge a baseline; nothing is written.

        Args:
            watch: Told about the training.

        Raises:
            KeyboardInterrupt: If the user interrupted the training.
            DataError: If the data cannot be read.
        """
        began, cpu_began = time.perf_counter(), time.process_time()
        splits = self._splits()
        counts = {
            f"{name}{part}": len(numbers)
            for name, split in splits.items()
            for part, numbers in parts(split).items()
        }
        train = splits.pop("train").examples
        task = get_task(self.task)
        if self.variant in BASELINES:
            judged = {
                f"{name}{part}": split.select(numbers).examples
                for name, split in splits.items()
                for part, numbers in parts(split).items()
            }
            figures = baseline_scores(self.variant, task, train, judged)
            return Outcome(figures, counts, time.perf_counter() - began)
        data = TaskData(task=task, train=train, valid=splits["dev"].examples)
        run = TaskRun(self.start, data, self._task_config(), self._training_config(task))
        result = run.fit(watch=watch)
        if not result.complete:
            raise KeyboardInterrupt
        details = {
            "updates": result.step,
            "best_update": result.best_step,
            "truncation": str(result.truncation),
            "parameters": run.model.num_parameters(),
            "tokenizer_mode": run.tokenizer.mode,
        }
        figures = {f"dev:{name}": value for name, value in result.metrics.items()}
        if not splits["dev"].parts:
            del splits["dev"]  # is judged already
        figures |= _judged(run, splits)
        details["cpu_s"] = time.process_time() - cpu_began
        return Outcome(figures, counts, time.perf_counter() - began, details)

    def _splits(self) -> dict[str, Examples]:
        """The examples of each split, cut to the sizes asked for."""
        splits = dict(read_splits(self.task, self.config.data))
        for name, split in splits.items():
            size = self.config.dev_subset
            if name == "train":
                words = self.config.subset_words
                size = self.config.subset if words is None else count_of_words(split, words)
            splits[name] = split.select(subset(range(len(split)), size))
        return splits

    def _task_config(self) -> TaskConfig:
        settings = TaskConfig(pdrop=self.config.pdrop)
        kind, _, blocks = self.variant.partition("-")
        changes: Mapping[str, dict[str, Any]] = {
            "full": {},
            "lstm": {},
            "scratch": {"transfer_layers": -1},
            "no_lm": {"lm_coef": 0.0},
            "transfer": {"transfer_layers": int(blocks or 0)},
        }
        return replace(settings, **changes[kind])

    def _training_config(self, task: Task) -> TrainingConfig:
        config = self.config
        return replace(
            PAPER,
            lr=self.lr,
            epochs=config.epochs or task.epochs,
            batch_size=config.batch_size,
            micro_batch_size=config.micro_batch_size,
            seed=self.seed,
            device=config.device,
            precision=config.precision,
            schedule=ScheduleConfig(warmup_fraction=config.warmup_fraction or 0.0),
        )


def _judged(run: TaskRun, splits: Mapping[str, Examples]) -> dict[str, float]:
    """Metrics of a trained model on each split, and on each part of it."""
    figures: dict[str, float] = {}
    for name, split in splits.items():
        predictions = predict(run.model, run.tokenizer, split.examples)
        for part, numbers in parts(split).items():
            labels = [split.examples[number].label for number in numbers]
            known = encode_labels(labels, run.model.head)
            for metric, value in judge(predictions.select(numbers), known, run.metrics).items():
                figures[f"{name}{part}:{metric}"] = value
    return figures


def parts(split: Examples) -> dict[str, list[int]]:
    """Numbers of all examples, under "", and of each part of the data, under "/part"."""
    found: dict[str, list[int]] = {"": list(range(len(split)))}
    for number, name in enumerate(split.parts):
        found.setdefault(f"/{name}", []).append(number)
    return found


def splits_of(task: Task) -> tuple[str, ...]:
    """The splits a task is trained, chosen and judged on."""
    return tuple(dict.fromkeys(["train", "dev", *(result.split for result in task.results)]))


@lru_cache(maxsize=2)
def read_splits(task: str, data: str) -> Mapping[str, Examples]:
    """The splits of a task, labelled examples only.

    "train" and "dev" are always among them; others of the paper's table if the data has them.

    Args:
        task: Its name.
        data: As for `gpt1.tasks.reading.read_split`.

    Raises:
        DataError: If "train" or "dev" cannot be read.
    """
    found: dict[str, Examples] = {}
    for name in splits_of(get_task(task)):
        try:
            split = read_split(get_task(task), data, name)
        except DataError:
            if name in ("train", "dev"):
                raise
            continue
        labelled = [n for n, e in enumerate(split.examples) if e.label is not None]
        if labelled:
            found[name] = split.select(labelled)
    return found


def count_of_words(examples: Examples, words: int) -> int:
    """How many examples of average length have so many words; both orders of two texts count.

    Args:
        examples: At least one.
        words: As split at spaces.

    Returns:
        At least 1.
    """
    read = sum(
        len(part.split()) * (2 if example.layout == "similarity" else 1)
        for example in examples.examples
        for segment in example.segments
        for part in segment
    )
    return max(1, round(words * len(examples) / read))


def plan(
    tasks: Sequence[str],
    variants: Sequence[str],
    config: ReproduceConfig,
    rates: Mapping[tuple[str, str], float],
) -> list[Experiment]:
    """All experiments of some tasks and variants: first every task with one seed, then the next.

    Args:
        tasks: Their names.
        variants: As for `Experiment`.
        config: With its defaults filled in.
        rates: Learning rate of each task and variant that has one.

    Returns:
        The experiments; a baseline has no seed, so it is there once.
    """
    return [
        Experiment(task, variant, config.seed + number, rates.get((task, variant), 0.0), config)
        for number in range(config.seeds)
        for task in tasks
        for variant in variants
        if number == 0 or variant not in BASELINES
    ]
