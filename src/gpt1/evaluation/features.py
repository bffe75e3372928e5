"""Vectors of examples from a language model as it is, for other models to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from gpt1.backbone import Backbone
from gpt1.errors import ConfigError
from gpt1.evaluation.predicting import BATCH_TOKENS
from gpt1.evaluation.scoring import hidden_states
from gpt1.tasks.encoding import Special, encode_examples
from gpt1.tasks.example import Example
from gpt1.tokenizer import Tokenizer

Pooling: TypeAlias = Literal["last", "mean", "extract"]
"""Which states of the last block become the vector of a text."""

_LEFT_OUT = -1


def example_features(
    model: Backbone, tokenizer: Tokenizer, examples: Sequence[Example], pooling: Pooling
) -> NDArray[np.float32]:
    """The vector of each example, without gradients or dropout.

    Args:
        model: Any device.
        tokenizer: Of the model.
        examples: Texts, pairs (read one behind the other) or similarities (read in both orders,
            whose vectors are added).
        pooling: "last" takes the state of the last token, "mean" the mean over all tokens; no
            special tokens are read. "extract" takes the state of ``_classify_`` in the layout of
            the task, what the head of a fine-tuned model reads.

    Returns:
        ``(N, D)``; zeros for a text without tokens.

    Raises:
        ConfigError: If there is no such pooling, or an example is a choice.
        TokenizerError: If the states of ``_classify_`` are asked of a model that does not know it.
    """
    if pooling not in get_args(Pooling):
        raise ConfigError(
            f"pooling is {pooling!r} but must be one of {', '.join(map(repr, get_args(Pooling)))}"
        )
    if any(example.layout == "choice" for example in examples):
        raise ConfigError("a choice has a vector for each option; take features of single texts")
    special = None if pooling == "extract" else Special(*[_LEFT_OUT] * 3)
    encoded, _ = encode_examples(examples, tokenizer, model.config.n_positions, special)
    rows = [[i for i in row if i != _LEFT_OUT] for e in encoded for row in e.sequences]
    vectors = pooled_states(model, rows, "mean" if pooling == "mean" else "last")
    owners = list(chain(*([n] * len(e.sequences) for n, e in enumerate(encoded))))
    sums = np.zeros((len(encoded), model.config.n_embd), np.float32)
    np.add.at(sums, owners, vectors)
    return sums


@torch.inference_mode()
def pooled_states(
    model: Backbone, rows: Sequence[Sequence[int]], pooling: Literal["last", "mean"]
) -> NDArray[np.float32]:
    """One vector a row of token ids, in batches of similar length.

    Args:
        model: Any device.
        rows: At most ``n_positions`` ids each.
        pooling: The state of the last token, or the mean over all.

    Returns:
        ``(R, D)``; zeros for an empty row.
    """
    vectors = np.zeros((len(rows), model.config.n_embd), np.float32)
    for numbers in _batches([len(row) for row in rows]):
        states = hidden_states(model, [rows[n] for n in numbers]).float()  # (B, T, D)
        lengths = torch.tensor([len(rows[n]) for n in numbers], device=states.device)
        if pooling == "last":
            pooled = states[torch.arange(len(numbers), device=states.device), lengths - 1]
        else:
            there = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
            pooled = (states * there[:, :, None]).sum(dim=1) / lengths[:, None]
        vectors[numbers] = pooled.cpu().numpy()
    return vectors


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of rows that are not empty, the short first, `BATCH_TOKENS` at once."""
    batch: list[int] = []
    for number in sorted(filter(lengths.__getitem__, range(len(lengths))), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
