"""Settings of ``gpt1 reproduce`` for the tables and figures of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpt1.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """Which model is fine-tuned on which data, how often, and on how much of it.

    The defaults are the paper's: all data, 3 epochs of batches of 32 at 6.25e-5.
    """

    data: str
    """Folder with a folder of each task, or with the official files."""
    model: str = "openai-community/openai-gpt"
    """The pre-trained model: the released one, "mini", a folder or a hub id."""
    lstm: str | None = None
    """A pre-trained LSTM, for its row of table 5."""
    tasks: tuple[str, ...] = ()
    """Only these tasks. Default: all of the table."""
    seeds: int = 1
    """Runs of every experiment, with as many seeds; the median is reported with its spread."""
    subset: int | None = None
    """Use only so many training examples of each task, the same ones for every model."""
    subset_words: int | None = None
    """Use only so many words of training examples, so that every task costs about the same."""
    dev_subset: int | None = None
    """Use only so many examples to choose and to judge by."""
    epochs: float | None = None
    """Passes over the training examples. Default: as in the paper."""
    lr: float = 6.25e-5
    """Peak learning rate. A small model needs a larger one: mini 5e-4."""
    batch_size: int = 32
    """Examples in an update."""
    micro_batch_size: int | None = None
    """Examples per forward pass: fewer need less memory, same update. Default: batch_size."""
    warmup_fraction: float = 0.002
    """Share of the updates over which the rate rises."""
    pdrop: float | None = None
    """Dropout inside the network. Default: as stored with the model (0.1 in the released one)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of matrix products."""
    device: str = "cpu"
    """Where to train: "cpu", "cuda", "cuda:1", "mps"."""
    jobs: int = 1
    """Experiments at a time, each in a process of one thread."""
    checkpoints: str | None = None
    """figure2: folder of a pre-training run with snapshots, see gpt1 pretrain --snapshot-steps."""
    lstm_checkpoints: str | None = None
    """figure2: the same of the LSTM."""

    def __post_init__(self) -> None:
        """Refuse numbers no experiment can have."""
        for name in (
            "seeds",
            "subset",
            "subset_words",
            "dev_subset",
            "epochs",
            "batch_size",
            "jobs",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value} but must be above 0")
        if self.subset is not None and self.subset_words is not None:
            raise ConfigError("subset and subset_words both limit the examples; give one of them")
        if not self.lr > 0:
            raise ConfigError(f"lr is {self.lr} but must be above 0")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision is {self.precision!r} but must be 'fp32' or 'bf16'")
