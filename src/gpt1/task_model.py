"""A language model with the head of a task (GPT-1 sections 3.2 and 3.3).

The head is one linear layer over the last block's output at the extract token, ``_classify_``. It
has no bias, as in the paper's equation 3: the last layer norm has one already. So the vectors of
the two orders of a similarity can be added before the head or their logits after it, and the model
is transformers' ``OpenAIGPTForSequenceClassification`` exactly.

Shapes: ``B`` examples, ``C`` sequences of an example, ``R`` rows, ``T`` tokens, ``D`` n_embd,
``O`` outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt1.backbone import Backbone
from gpt1.config import BackboneConfig, HeadConfig
from gpt1.model import lm_loss
from gpt1.tasks.batches import TaskBatch


class TaskOutput(NamedTuple):
    """What a forward pass returns.

    Attributes:
        logits: ``(B, O)``: scores of the classes, the one standardised value, or, for a choice,
            ``(B, C)`` scores of the options, minus infinity where an example has fewer.
        lm_loss: Next-token loss in nats: mean over the tokens of a sequence, then over all
            sequences of an example, then over the examples. None if it was not asked for.
    """

    logits: Tensor
    lm_loss: Tensor | None


class TaskModel(nn.Module):
    """A language model and a linear head.

    Args:
        backbone: The language model; knows the special tokens.
        head: What the outputs mean.
    """

    def __init__(self, backbone: Backbone, head: HeadConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.drop = nn.Dropout(head.clf_pdrop)
        self.score = nn.Linear(
            backbone.config.n_embd, head.n_outputs, bias=False, device=backbone.device
        )
        self.reset_head()

    @torch.no_grad()
    def reset_head(self, generator: torch.Generator | None = None) -> None:
        """Draw the head anew, N(0, 0.02)."""
        spread = self.backbone.config.initializer_range
        self.score.weight.normal_(0.0, spread, generator=generator)

    @property
    def config(self) -> BackboneConfig:
        """Shape of the language model."""
        return self.backbone.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.device

    @property
    def activation_checkpointing(self) -> bool:
        """Recompute each block in the backward pass instead of keeping its activations."""
        return self.backbone.activation_checkpointing

    @activation_checkpointing.setter
    def activation_checkpointing(self, value: bool) -> None:
        self.backbone.activation_checkpointing = value

    def num_parameters(self) -> int:
        """Number of trained numbers; the tied output layer counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, batch: TaskBatch, *, need_lm_loss: bool = False) -> TaskOutput:
        """Score examples, and predict their tokens in the same pass.

        Args:
            batch: From `gpt1.tasks.batches.collate`.
            need_lm_loss: Compute the auxiliary loss as well.

        Returns:
            `TaskOutput`.

        Source: GPT-1 section 3.2, equations 3 to 5.
        """
        states = self.hidden(batch).flatten(0, 1)  # (R * T, D)
        missing = batch.extract < 0
        vectors = states[batch.extract.clamp(min=0)]  # (B, C, D)
        # One mask for all sequences of an example, as in the authors' code.
        vectors = vectors * self.drop(torch.ones_like(vectors[:, :1]))
        if self.head.layout == "choice":
            logits = self.score(vectors)[..., 0].masked_fill(missing, float("-inf"))
        else:
            logits = self.score(vectors.sum(dim=1))
        loss = None
        if need_lm_loss:
            table = self.backbone.tokens_embed.weight
            loss = lm_loss(states[batch.lm_at], table, batch.lm_targets, batch.lm_weights)
        return TaskOutput(logits.float(), loss)

    def hidden(self, batch: TaskBatch) -> Tensor:
        """Output of the last block, ``(R, T, D)``."""
        return self.backbone.hidden(batch.input_ids, positions=batch.positions, mask=batch.mask)


def task_loss(
    logits: Tensor, labels: Tensor, head: HeadConfig, class_weights: Tensor | None = None
) -> Tensor:
    """Loss of the head: cross-entropy, or for values the squared error.

    Args:
        logits: ``(B, O)`` or ``(B, C)``, float32.
        labels: ``(B,)``, int64 classes or options, or float32 standardised values.
        head: What the outputs mean.
        class_weights: ``(O,)``: share of the examples of each class in the mean, or None.

    Returns:
        A scalar: the mean over the examples, nats or squared standard deviations.

    Source: GPT-1 equation 4; for values, mean squared error.
    """
    if head.kind == "value":
        return F.mse_loss(logits[:, 0], labels)
    losses = F.cross_entropy(logits, labels, reduction="none")
    return (losses if class_weights is None else losses * class_weights[labels]).mean()
