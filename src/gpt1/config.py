"""Every setting of the package, as frozen, keyword-only dataclasses of plain data.

The text under a field is its documentation and becomes its line in ``--help``. Checks run when a
config is made, and report every problem at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from gpt1.errors import ConfigError

BELOW_1 = 0.999999
"""Largest decay of a running mean: at 1 it would never move."""

RUN_FILE = "run.yaml"
"""The resolved settings of a run, in its folder."""


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise ConfigError("; ".join(problems))


def _out_of_range(config: Any, low: float, high: float, *names: str) -> list[str]:
    """One message for each named field of ``config`` that is no number in ``[low, high]``."""
    limits = f"between {low:g} and {high:g}" if high != float("inf") else f"at least {low:g}"
    types = {field.name: str(field.type) for field in dataclasses.fields(config)}
    problems = []
    for name in names:
        value = getattr(config, name)
        whole = types[name].startswith("int")
        if value is None:
            continue
        if not isinstance(value, Integral if whole else Real):
            kind = "a whole number" if whole else "a number"
            problems.append(f"{name} is {value!r} but must be {kind}")
        elif not low <= float(value) <= high:
            problems.append(f"{name} is {value!r} but must be {limits}")
    return problems


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Shape of the network; the defaults are the paper's model (GPT-1 section 4.1)."""

    vocab_size: int = 40_478
    """Rows of the token table: every id is below this."""
    n_positions: int = 512
    """Longest sequence the model can take, in tokens."""
    n_embd: int = 768
    """Width of the hidden states."""
    n_layer: int = 12
    """Number of Transformer blocks."""
    n_head: int = 12
    """Attention heads of each block; must divide n_embd."""
    afn: Literal["gelu", "relu", "silu"] = "gelu"
    """Activation of the feed-forward layer; "gelu" is the tanh approximation the authors used."""
    embd_pdrop: float = 0.1
    """Dropout on the sum of token and position embeddings."""
    attn_pdrop: float = 0.1
    """Dropout on the attention weights."""
    resid_pdrop: float = 0.1
    """Dropout on the output of each attention and feed-forward layer."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance inside the square root of each layer norm."""
    initializer_range: float = 0.02
    """Standard deviation of freshly drawn weights and embeddings."""

    def __post_init__(self) -> None:
        """Refuse impossible shapes, all problems in one message."""
        inf = float("inf")
        problems = _out_of_range(
            self, 1, inf, "vocab_size", "n_positions", "n_embd", "n_layer", "n_head"
        )
        problems += _out_of_range(self, 0, 1, "embd_pdrop", "attn_pdrop", "resid_pdrop")
        problems += _out_of_range(self, 0, inf, "layer_norm_epsilon", "initializer_range")
        if self.afn not in ("gelu", "relu", "silu"):
            problems.append(f"afn is {self.afn!r} but must be 'gelu', 'relu' or 'silu'")
        if not problems and self.n_embd % self.n_head:
            divisors = [n for n in range(1, 33) if self.n_embd % n == 0]
            problems.append(
                f"n_head is {self.n_head} but must divide n_embd, which is {self.n_embd}; "
                f"try one of {divisors}"
            )
        _raise_all(problems)

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    def replace(self, **changes: object) -> GPTConfig:
        """A copy with some fields changed, checked like a new config."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How gradients become updates."""

    name: Literal["adamw", "muon"] = "adamw"
    """AdamW for every parameter, or Muon for the matrices of the blocks and AdamW for the rest."""
    beta1: float = 0.9
    """Decay of the running mean of gradients."""
    beta2: float = 0.999
    """Decay of the running mean of squared gradients."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled decay per update and unit of learning rate, on matrices only (section 4.1)."""
    clip_norm: float = 1.0
    """Largest global gradient norm; longer gradients are scaled down to it. 0: no clipping."""
    muon_lr: float = 0.01
    """Peak learning rate of the matrices that Muon updates; follows the same schedule as lr."""
    muon_momentum: float = 0.95
    """Momentum of Muon's running mean of gradients."""

    def __post_init__(self) -> None:
        """Refuse values no optimizer can use."""
        problems = _out_of_range(self, 0, BELOW_1, "beta1", "beta2", "muon_momentum")
        problems += _out_of_range(
            self, 0, float("inf"), "epsilon", "weight_decay", "clip_norm", "muon_lr"
        )
        if self.name not in ("adamw", "muon"):
            problems.append(f"optimizer.name is {self.name!r} but must be 'adamw' or 'muon'")
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate moves over a run."""

    name: Literal["linear", "cosine", "constant"] = "linear"
    """Shape after the warm-up: linear or cosine down to final_fraction, or constant."""
    warmup_steps: int | None = None
    """Updates over which the rate rises from 0; overrides warmup_fraction."""
    warmup_fraction: float = 0.02
    """Share of all updates over which the rate rises from 0 (the paper fine-tunes with 0.002)."""
    final_fraction: float = 0.0
    """Rate at the end of the run, as a share of the peak."""

    def __post_init__(self) -> None:
        """Refuse schedules that are not one."""
        problems = _out_of_range(self, 0, 1, "warmup_fraction", "final_fraction")
        problems += _out_of_range(self, 0, float("inf"), "warmup_steps")
        if self.name not in ("linear", "cosine", "constant"):
            problems.append(
                f"schedule.name is {self.name!r} but must be 'linear', 'cosine' or 'constant'"
            )
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run: how long, how large a step, how often to look."""

    lr: float = 6.25e-5
    """Peak learning rate (the paper fine-tunes with 6.25e-5 and pre-trains with 2.5e-4)."""
    epochs: float = 3.0
    """Passes over the training data; max_steps, where given, overrides it."""
    max_steps: int | None = None
    """Optimizer updates in the whole run."""
    batch_size: int = 32
    """Sequences per optimizer update."""
    micro_batch_size: int | None = None
    """Sequences per forward pass: fewer need less memory, same update. Default: batch_size."""
    seq_len: int | None = None
    """Tokens per sequence. Default: the model's n_positions."""
    seed: int = 42
    """Seed of the data order, of dropout and of new weights."""
    device: str = "cpu"
    """Where to train: "cpu", "cuda", "cuda:1", "mps"."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of matrix products; weights stay float32 under "bf16" too."""
    activation_checkpointing: bool = False
    """Recompute each block in the backward pass instead of keeping its activations."""
    eval_every_steps: int = 100
    """Validate, and keep the best weights, every so many updates and at the end. 0: at the end."""
    eval_batches: int | None = None
    """Validation batches at most; default all."""
    patience: int | None = None
    """Stop after so many validations in a row without a better loss."""
    save_every_steps: int = 500
    """Write the state a run resumes from every so many updates and at the end. 0: at the end."""
    log_every_steps: int = 10
    """Write a line of metrics every so many updates."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How gradients become updates."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the learning rate moves."""

    def __post_init__(self) -> None:
        """Refuse settings no run can follow, all problems in one message."""
        inf = float("inf")
        problems = _out_of_range(self, 0, inf, "lr", "eval_every_steps", "save_every_steps")
        problems += _out_of_range(
            self, 1, inf, "max_steps", "batch_size", "micro_batch_size", "log_every_steps"
        )
        problems += _out_of_range(self, 2, inf, "seq_len")
        problems += _out_of_range(self, 1, inf, "eval_batches", "patience")
        problems += _out_of_range(self, 0, 2**32 - 1, "seed")
        if self.max_steps is None and not 0 < self.epochs < inf:
            problems.append(f"epochs is {self.epochs:g} but must be more than 0")
        if self.precision not in ("fp32", "bf16"):
            problems.append(f"precision is {self.precision!r} but must be 'fp32' or 'bf16'")
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """How text is continued. The default is greedy; any sampling setting turns sampling on."""

    max_new_tokens: int = 50
    """Tokens to add at most."""
    temperature: float | None = None
    """Divides the logits before sampling; 0 is greedy, 1 leaves the model as it is."""
    top_k: int | None = None
    """Sample among the k most likely tokens only."""
    top_p: float | None = None
    """Sample among the smallest set of tokens whose probability reaches p."""
    n: int = 1
    """Continuations of each prompt."""
    stop: tuple[str, ...] = ()
    """Strings that end the text; they are cut off."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end the text, beside the end-of-text token; they are cut off."""
    seed: int | None = None
    """Seed of the sampling; the same seed gives the same text, whatever else is in the batch."""

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        inf = float("inf")
        problems = _out_of_range(self, 1, inf, "max_new_tokens", "top_k", "n")
        problems += _out_of_range(self, 0, inf, "temperature")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            problems.append(f"top_p is {self.top_p!r} but must be above 0 and at most 1")
        if any(not text for text in self.stop):
            problems.append("stop holds an empty string, which would end every text at once")
        if self.n > 1 and not self.samples:
            problems.append(
                f"n is {self.n} but greedy decoding has one answer; set temperature, top_k or top_p"
            )
        _raise_all(problems)

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn at random rather than by highest probability."""
        if self.temperature == 0:
            return False
        return self.temperature is not None or self.top_k is not None or self.top_p is not None


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Which texts a language model is fine-tuned on, and how they look to it."""

    data: str
    """A .csv, .tsv, .jsonl or .txt file (also .gz, .xz) or a folder of them."""
    text_column: str | None = None
    """Column that holds the text. Default: found by name or length, and said."""
    valid_data: str | None = None
    """Texts to validate on. Default: valid_fraction of the data is held out."""
    valid_fraction: float = 0.05
    """Share of the texts held out for validation, between 0 (none) and 0.5."""
    prefix: str = ""
    """Put before every text, for example "JOKE: "."""
    end_token: str | None = "<|endoftext|>"
    """Special token put behind every text, so that generation knows where to stop."""
    max_texts: int | None = None
    """Use only the first so many texts."""

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on."""
        problems = _out_of_range(self, 0, 0.5, "valid_fraction")
        problems += _out_of_range(self, 1, float("inf"), "max_texts")
        _raise_all(problems)


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """How files of text become token shards."""

    tokenizer: str | None = None
    """Model or folder whose tokenizer is used. Default: a new one is trained on the texts."""
    vocab_size: int = 8192
    """Entries of a new tokenizer."""
    text_column: str | None = None
    """Column that holds the text. Default: found by name or length, and said."""
    valid_fraction: float = 0.01
    """Share of the documents held out for validation, between 0 (none) and 0.5."""

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit a shard."""
        problems = _out_of_range(self, 0, 0.5, "valid_fraction")
        problems += _out_of_range(self, 2, 2**16, "vocab_size")
        _raise_all(problems)
