"""Settings of ``gpt1 reproduce`` for the tables and figures of the paper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from gpt1.errors import ConfigError
from gpt1.reproduce.paper import TABLES

PAPER_WIDTH = 768
PAPER_LR, PAPER_WARMUP = 6.25e-5, 0.002
SMALL_LR, SMALL_WARMUP = 5e-4, 0.1
"""For models that are narrower than the paper's."""

BESIDE = ("scratch", "tfidf", "majority")
"""What may stand beside the model: the same network without pre-training, TF-IDF with logistic
regression, and the most frequent answer."""


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Which model is fine-tuned on which data, how often, on how much of it, and how.

    What is not given is as in the paper, but for models that are narrower than its own.
    """

    data: str
    """Folder with a folder of each task, or with their official files; "hub:" for the usual data
    sets on the hub."""
    model: str = "mini"
    """The pre-trained model: "mini", a folder, or a hub id such as openai-community/openai-gpt."""
    lstm: str | None = None
    """A pre-trained LSTM, for its row of table 5: a folder from gpt1 pretrain."""
    tasks: tuple[str, ...] = ()
    """Only these tasks. Default: all."""
    seeds: int = 5
    """Runs of every experiment, with as many seeds; the median is reported with its spread."""
    seed: int = 42
    """The first seed; it also decides between the rates of lr_grid."""
    subset: int | None = None
    """Use only so many training examples of each task, the same ones in every run."""
    subset_words: int | None = None
    """Use only about so many words of training texts, so that every task costs about the same."""
    dev_subset: int | None = None
    """Use only so many examples of each split to choose and to judge by."""
    epochs: float | None = None
    """Passes over the training examples. Default: 3, as in the paper."""
    lr: float | None = None
    """Peak learning rate. Default: 6.25e-5, as in the paper, for a model as wide as the paper's,
    and 5e-4 for a narrower one."""
    lr_grid: tuple[float, ...] = ()
    """Learning rates to try with the first seed; each task and variant goes on with the one that is
    best on its development set. A list: [1e-4,3e-4,1e-3]."""
    batch_size: int = 32
    """Examples in an update."""
    micro_batch_size: int | None = None
    """Examples per forward pass: fewer need less memory, same update. Default: batch_size."""
    warmup_fraction: float | None = None
    """Share of the updates over which the rate rises. Default: 0.002, as in the paper, for a model
    as wide as the paper's, and 0.1 for a narrower one."""
    pdrop: float = 0.1
    """Dropout inside the network: on embeddings, attention weights and residual branches."""
    beside: tuple[Literal["scratch", "tfidf", "majority"], ...] | None = None
    """Columns beside the model: scratch (the same network without pre-training), tfidf (TF-IDF and
    logistic regression) and majority (the most frequent answer). A list: [scratch,majority].
    Default: tfidf and majority, and scratch for a model that is narrower than the paper's."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of matrix products."""
    device: str = "cpu"
    """Where to train: "cpu", "cuda", "cuda:1", "mps"."""
    jobs: int = 1
    """Experiments at a time, each in a process of one thread."""
    panel: Literal["both", "left", "right"] = "both"
    """figure2: draw both panels, or only the transfer of blocks (left) or the zero-shot scores
    (right)."""
    checkpoints: str | None = None
    """figure2: folder of a pre-training run with snapshots, from gpt1 pretrain --snapshot-steps."""
    lstm_checkpoints: str | None = None
    """figure2: the same of an LSTM."""

    def __post_init__(self) -> None:
        """Refuse numbers no experiment can have, and names there are not."""
        known = [task for tasks in TABLES.values() for task in tasks]
        unknown = [task for task in self.tasks if task not in known]
        if unknown:
            raise ConfigError(f"there is no task {unknown[0]!r}; the tasks are {', '.join(known)}")
        for name in (
            "seeds",
            "subset",
            "subset_words",
            "dev_subset",
            "epochs",
            "lr",
            "batch_size",
            "micro_batch_size",
            "jobs",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value} but must be above 0")
        if not all(lr > 0 for lr in self.lr_grid):
            raise ConfigError(f"lr_grid is {list(self.lr_grid)} but each must be above 0")
        if self.lr is not None and self.lr_grid:
            raise ConfigError("lr and lr_grid are both given; leave out one of them")
        if self.subset and self.subset_words:
            raise ConfigError("subset and subset_words are both given; leave out one of them")

    def completed(self, width: int) -> ReproduceConfig:
        """The same with every default filled in that depends on the width of the model."""
        as_paper = width >= PAPER_WIDTH
        lr, warmup = (PAPER_LR, PAPER_WARMUP) if as_paper else (SMALL_LR, SMALL_WARMUP)
        beside = tuple(name for name in BESIDE if name != "scratch" or not as_paper)
        return replace(
            self,
            lr=lr if self.lr is None and not self.lr_grid else self.lr,
            warmup_fraction=warmup if self.warmup_fraction is None else self.warmup_fraction,
            beside=beside if self.beside is None else self.beside,  # type: ignore[arg-type]
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to try, once defaults are filled in."""
        return self.lr_grid or ((self.lr,) if self.lr else ())
