"""What a run minimises: the part of training that differs between pre-training and tasks."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from gpt1.data.batches import Batch
from gpt1.model import GPT, IGNORED, shift_labels


class Objective(Protocol):
    """A mean loss over counted targets: parts of a batch can be weighed by their counts."""

    def count(self, batch: Batch) -> int:
        """Targets in a batch."""

    def loss(self, model: GPT, batch: Batch) -> Tensor:
        """Mean loss over these targets, a scalar, nats."""


class LanguageModeling:
    """Next-token prediction (GPT-1 section 3.1, eq. 1)."""

    def count(self, batch: Batch) -> int:
        """Tokens that are predicted: all but the first of each text."""
        return int((shift_labels(batch.labels, batch.segment_ids) != IGNORED).sum())

    def loss(self, model: GPT, batch: Batch) -> Tensor:
        """Mean over the predicted tokens, a scalar, nats."""
        output = model(batch.input_ids, labels=batch.labels, segment_ids=batch.segment_ids)
        return output.loss  # type: ignore[no-any-return]
