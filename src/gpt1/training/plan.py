"""What a run would do and need, without doing it: ``--dry-run``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from gpt1.backbone import Backbone
from gpt1.config import TrainingConfig
from gpt1.data.batches import steps_per_epoch
from gpt1.task_model import TaskModel
from gpt1.training.checkup import BYTES_PER_WEIGHT, Checkup
from gpt1.training.distributed import refuse_many
from gpt1.training.doctor import Finding, diagnose
from gpt1.training.objectives import Objective
from gpt1.training.parts import part_size


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before it begins.

    Attributes:
        findings: What is wrong with it.
        steps: Updates.
        warmup_steps: Updates over which the rate rises.
        batch_size: Sequences of an update.
        sequences: Of an epoch.
        tokens: Of an epoch.
        epochs: Passes over the sequences.
        parameters: Of the model.
        memory_bytes: Weights, gradients, two moments, and what a forward pass over one micro-batch
            keeps for the backward pass. None where the run cannot begin.
        disk_bytes: States, snapshots and the model at most.
        free_bytes: Room for them.
    """

    findings: tuple[Finding, ...]
    steps: int
    warmup_steps: int
    batch_size: int
    sequences: int
    tokens: int
    epochs: float
    parameters: int
    memory_bytes: int | None
    disk_bytes: int
    free_bytes: int

    @property
    def works(self) -> bool:
        """Whether the run can begin."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def make_plan(
    run: Checkup, network: Backbone | TaskModel, objective: Objective, rows: Callable[[int], Any]
) -> Plan:
    """The plan of a run, and what is wrong with it.

    Args:
        run: With all its facts.
        network: Of the run.
        objective: What is minimised.
        rows: Makes a batch of so many sequences, long ones.

    Raises:
        ConfigError: If there are several processes: each would make it.
    """
    refuse_many("--dry-run")
    size = run.training.batch_size

    def forward(sequences: int) -> Tensor:
        return objective.loss(network, rows(sequences).to(network.device))

    findings = tuple(diagnose(run))
    memory_bytes = None
    if not any(finding.severity == "error" for finding in findings):
        memory_bytes = 4 * BYTES_PER_WEIGHT * run.parameters
        memory_bytes += activation_bytes(network, run.training, forward)
    return Plan(
        findings=findings,
        steps=run.total_steps,
        warmup_steps=run.warmup_steps,
        batch_size=size,
        sequences=run.sequences,
        tokens=run.tokens,
        epochs=run.total_steps / steps_per_epoch(run.sequences, size),
        parameters=run.parameters,
        memory_bytes=memory_bytes,
        disk_bytes=run.disk_bytes,
        free_bytes=run.free_bytes,
    )


def activation_bytes(
    network: Backbone | TaskModel, training: TrainingConfig, forward: Callable[[int], Tensor]
) -> int:
    """What a forward pass over a micro-batch keeps, told by passes over one sequence and over two.

    Args:
        network: Put into training mode.
        training: Says how large a micro-batch is and how it is computed.
        forward: Computes the loss of so many sequences.
    """
    network.train()
    network.activation_checkpointing = training.activation_checkpointing
    precision = torch.bfloat16 if training.precision == "bf16" else torch.float32
    with torch.autocast(network.device.type, precision, enabled=training.precision == "bf16"):
        one, two = (kept_bytes(network, partial(forward, number)) for number in (1, 2))
    size = min(part_size(network, training), training.batch_size)
    return one + (size - 1) * (two - one)


def kept_bytes(network: torch.nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that stand in memory after a forward pass until its backward pass, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward()  # keeps them as long as it lives
    del loss
    return sum(size for place, size in kept.items() if place not in weights)
