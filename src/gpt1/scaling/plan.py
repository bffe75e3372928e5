"""A run whose cost is asked for: shape, devices, batch; and shapes by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from gpt1.config import GPTConfig
from gpt1.errors import ConfigError
from gpt1.scaling.hardware import DEVICES

SIZES = {
    "117M": GPTConfig(),
    "350M": GPTConfig(n_layer=24, n_embd=1024, n_head=16),
    "1.3B": GPTConfig(n_layer=24, n_embd=2048, n_head=16, n_positions=2048),
    "2.7B": GPTConfig(n_layer=32, n_embd=2560, n_head=32, n_positions=2048),
    "7B": GPTConfig(n_layer=32, n_embd=4096, n_head=32, n_positions=2048),
}
"""Shapes by name: the paper's, and four after table 2.1 of the GPT-3 paper (Brown et al., 2020)
with the paper's vocabulary of 40,478."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run whose cost is asked for."""

    model: GPTConfig
    """Shape of the network."""
    device: str = "h100"
    """Accelerator: p6000, v100, a100-40, a100-80, h100, h200 or epyc-core (a core of a CPU)."""
    gpus: int = 8
    """How many of them; a node has 8."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Every device holds the whole model, or its share."""
    batch_size: int = 1024
    """Sequences per update, over all devices."""
    micro_batch_size: int | None = None
    """Sequences per forward pass and device. Default: the most that fit, a power of two."""
    seq_len: int | None = None
    """Tokens per sequence. Default: the model's n_positions."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Arithmetic of matrix products."""
    activation_checkpointing: bool = False
    """Recompute each block in the backward pass instead of keeping its activations."""
    compile: bool = False
    """Compile each block."""
    tokens: float | None = None
    """Tokens of the whole run, 1.2e11 for the paper's: asks for its time and its price."""
    usd_per_hour: float | None = None
    """Price of one device for an hour. Default: the one assumed for the device."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, all problems in one message."""
        problems = [*self._impossible_numbers(), *self._impossible_device()]
        if problems:
            raise ConfigError("; ".join(problems))

    def _impossible_numbers(self) -> list[str]:
        lowest = {"gpus": 1, "batch_size": 1, "micro_batch_size": 1, "tokens": 1, "seq_len": 2}
        values = {name: getattr(self, name) for name in lowest}
        problems = [
            f"{name} is {value!r} but must be at least {lowest[name]}"
            for name, value in values.items()
            if value is not None and value < lowest[name]
        ]
        if self.usd_per_hour is not None and self.usd_per_hour < 0:
            problems.append(f"usd_per_hour is {self.usd_per_hour!r} but must be at least 0")
        if self.length > self.model.n_positions:
            problems.append(
                f"seq_len is {self.length} but the model has {self.model.n_positions} positions; "
                "give it more or take a shorter seq_len"
            )
        if not problems and self.gpus > self.batch_size:
            problems.append(
                f"gpus is {self.gpus} but batch_size is {self.batch_size}: each takes at least "
                "one sequence; use fewer GPUs or a larger batch"
            )
        return problems

    def _impossible_device(self) -> list[str]:
        problems = []
        if self.parallel not in ("ddp", "fsdp"):
            problems.append(f"parallel is {self.parallel!r} but must be 'ddp' or 'fsdp'")
        if self.precision not in ("bf16", "fp32"):
            problems.append(f"precision is {self.precision!r} but must be 'bf16' or 'fp32'")
        if self.device not in DEVICES:
            problems.append(f"device is {self.device!r} but must be one of {', '.join(DEVICES)}")
        elif self.precision == "bf16" and DEVICES[self.device].bf16_flops is None:
            problems.append(f"{self.device} has no units for bf16; use precision fp32")
        return problems

    @property
    def length(self) -> int:
        """Tokens per sequence."""
        return self.seq_len or self.model.n_positions

    @property
    def per_device(self) -> int:
        """Sequences that the busiest device reads in a step."""
        return math.ceil(self.batch_size / self.gpus)

    @property
    def shards(self) -> int:
        """Devices that share weights, gradients and moments."""
        return self.gpus if self.parallel == "fsdp" else 1
