"""What a run minimises: the part of training that differs between pre-training and tasks."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from gpt1.backbone import Backbone
from gpt1.data.batches import Batch
from gpt1.model import IGNORED, shift_labels
from gpt1.task_model import TaskModel, task_loss
from gpt1.tasks.batches import TaskBatch


class Objective(Protocol):
    """A mean loss over counted targets: parts of a batch can be weighed by their counts.

    Attributes:
        unit: What a target is called.
    """

    unit: str

    def count(self, batch: Any) -> int:
        """Targets in a batch."""

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Mean loss over these targets, a scalar, nats."""


class LanguageModeling:
    """Next-token prediction (GPT-1 section 3.1, eq. 1)."""

    unit = "tokens"

    def count(self, batch: Batch) -> int:
        """Tokens that are predicted: all but the first of each text."""
        return int((shift_labels(batch.labels, batch.segment_ids) != IGNORED).sum())

    def loss(self, model: Backbone, batch: Batch) -> Tensor:
        """Mean over the predicted tokens, a scalar, nats."""
        output = model(batch.input_ids, labels=batch.labels, segment_ids=batch.segment_ids)
        return output.loss  # type: ignore[no-any-return]


class TaskLearning:
    """The loss of a task and, weighed, that of its texts: ``L_clf + lm_coef * L_lm``.

    Both are means over examples, computed in one forward pass.

    Args:
        lm_coef: Weight of the language-model loss.
        class_weights: ``(O,)``: what the loss of each class is multiplied with, or None.

    Source: GPT-1 section 3.2, eq. 5 (lambda is lm_coef).
    """

    unit = "examples"

    def __init__(self, lm_coef: float, class_weights: Tensor | None = None) -> None:
        self.lm_coef = lm_coef
        self.class_weights = class_weights

    def count(self, batch: TaskBatch) -> int:
        """Examples."""
        return len(batch.labels)

    def loss(self, model: TaskModel, batch: TaskBatch) -> Tensor:
        """Mean over the examples, a scalar, nats."""
        logits, lm_loss = model(batch, need_lm_loss=self.lm_coef > 0)
        head = getattr(model, "module", model).head  # of many processes, the model is wrapped
        clf_loss = task_loss(logits, batch.labels, head, self.class_weights)
        return clf_loss if lm_loss is None else clf_loss + self.lm_coef * lm_loss
