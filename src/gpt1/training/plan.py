"""What a run would do and need, without doing it: ``--dry-run``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gpt1.data.batches import steps_per_epoch
from gpt1.training.checkup import BYTES_PER_WEIGHT, Checkup
from gpt1.training.distributed import refuse_many
from gpt1.training.doctor import Finding, diagnose


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
        memory_bytes: Weights, gradients and two moments; what a forward pass keeps comes on top.
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
    memory_bytes: int
    disk_bytes: int
    free_bytes: int

    @property
    def works(self) -> bool:
        """Whether the run can begin."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def make_plan(run: Checkup) -> Plan:
    """The plan of a run, and what is wrong with it.

    Raises:
        ConfigError: If there are several processes: each would make it.
    """
    refuse_many("a dry run")
    size = run.training.batch_size
    return Plan(
        findings=tuple(diagnose(run)),
        steps=run.total_steps,
        warmup_steps=run.warmup_steps,
        batch_size=size,
        sequences=run.sequences,
        tokens=run.tokens,
        epochs=run.total_steps / steps_per_epoch(run.sequences, size),
        parameters=run.parameters,
        memory_bytes=4 * BYTES_PER_WEIGHT * run.parameters,
        disk_bytes=run.disk_bytes,
        free_bytes=run.free_bytes,
    )
