"""Settings of ``gpt1 reproduce seed``."""

from __future__ import annotations

from dataclasses import dataclass

from gpt1.errors import ConfigError
from gpt1.hub import EXAMPLE_ID

QUICK_TEXTS = 400
FULL_EPOCHS, QUICK_EPOCHS = 5, 1


@dataclass(frozen=True, kw_only=True)
class SeedConfig:
    """The walk through the tutorial: which model, which jokes, how long."""

    model: str = EXAMPLE_ID
    """The released weights, by hub id or folder; "mini" or any other model walks the same steps
    without expected values."""
    data: str | None = None
    """Jokes: a .csv, .tsv, .jsonl or .txt file (also .gz, .xz). Default: those that come with
    gpt1."""
    text_column: str | None = None
    """Column that holds the joke. Default: found by name or length, and said."""
    quick: bool = False
    """Use only the first 400 jokes, for 1 epoch unless --epochs says otherwise."""
    epochs: int | None = None
    """Passes of both recipes over the jokes. Default: 5, as in the tutorial."""
    max_steps: int | None = None
    """Updates of each recipe at most."""
    lr: float | None = None
    """Peak learning rate of our recipe. Default: 6.25e-5, as in the paper, for a model as wide as
    the paper's, and 3e-4 for a narrower one."""
    batch_size: int = 8
    """Packs in an update of our recipe; the tutorial's has 32."""
    seed: int = 42
    """Seed of the order of the jokes, of dropout and of sampled text."""
    device: str = "cpu"
    """Where to compute: "cpu", "cuda", "cuda:1", "mps"."""

    def __post_init__(self) -> None:
        """Refuse runs without an update."""
        for name in ("epochs", "max_steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value} but must be at least 1")
        if self.lr is not None and not self.lr > 0:
            raise ConfigError(f"lr is {self.lr} but must be more than 0")

    @property
    def passes(self) -> int:
        """Epochs of both recipes."""
        return self.epochs or (QUICK_EPOCHS if self.quick else FULL_EPOCHS)

    @property
    def max_texts(self) -> int | None:
        """Most jokes that are used, held-out ones included."""
        return QUICK_TEXTS if self.quick else None
