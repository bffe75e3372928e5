"""The two language models of the paper, as everything that only reads, trains and scores sees them.

Both have ``config``, ``tokens_embed``, ``hidden``, ``lm_head``, ``device`` and ``dtype``, and a
forward pass that takes ``labels``. Only a `GPT` has blocks, a cache and attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from gpt1.config import BackboneConfig, GPTConfig
from gpt1.errors import CheckpointError
from gpt1.lstm import LSTM
from gpt1.model import GPT

Backbone: TypeAlias = GPT | LSTM
"""A language model, Transformer or LSTM."""


def new_backbone(config: BackboneConfig) -> Backbone:
    """A model of the given shape, with fresh weights."""
    return GPT(config) if isinstance(config, GPTConfig) else LSTM(config)


def require_gpt(model: Backbone, doing: str) -> GPT:
    """The model, if it is a Transformer.

    Args:
        model: Either kind.
        doing: What needs it, to begin a sentence with.

    Raises:
        CheckpointError: If it is an LSTM.
    """
    if isinstance(model, LSTM):
        raise CheckpointError(
            f"{doing} needs a Transformer, and this model is an LSTM; it can be scored, and "
            "fine-tuned on tasks"
        )
    return model


class HasModes(Protocol):
    """A torch module, as far as `evaluation_mode` is concerned."""

    training: bool

    def eval(self) -> Any:
        """Switch dropout off."""

    def train(self) -> Any:
        """Switch dropout on."""


@contextmanager
def evaluation_mode(model: HasModes) -> Iterator[None]:
    """Switch dropout off inside the block, and back on after it if it was on."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()
