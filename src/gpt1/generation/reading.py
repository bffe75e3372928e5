"""Reading prompts and new tokens into a key-value cache: what every way of generating does first.

A context longer than ``n_positions`` slides: when the cache is full, the last ``n_positions // 2``
tokens are read again as a fresh context, from position 0, and generation goes on. Per
``n_positions // 2`` new tokens that costs one pass over as many, which is small beside the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from gpt1.backbone import evaluation_mode
from gpt1.model import GPT, KVCache


class Reading(NamedTuple):
    """What the model makes of the newest tokens.

    Attributes:
        logits: ``(B, V)``, behind the last token of each context.
        states: ``n_layer + 1`` tensors ``(B, T, D)``: the embeddings of the tokens just read and
            each block's output; none unless asked for.
    """

    logits: Tensor
    states: tuple[Tensor, ...]


def read_prompts(
    model: GPT, prompts: Sequence[Sequence[int]], new_tokens: int, *, states: bool = False
) -> tuple[Reading, KVCache]:
    """Read prompts of any length together, padded on the right.

    Args:
        model: In evaluation mode.
        prompts: Token ids, at least one a prompt; the last ``n_positions`` of each are read.
        new_tokens: The cache gets room for so many more, but not beyond ``n_positions``.
        states: Return the states, too.

    Returns:
        The reading, and the cache, a row a prompt.
    """
    prompts = [prompt[-model.config.n_positions :] for prompt in prompts]
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    longest = int(lengths.max())
    padded = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = torch.tensor(prompt)
    cache = model.new_cache(len(prompts), min(longest + new_tokens, model.config.n_positions))
    reading = _read(model, padded, cache, lengths - 1, states)
    cache.advance(lengths)
    return reading, cache


def read_newest(
    model: GPT, cache: KVCache, contexts: Sequence[Sequence[int]], *, states: bool = False
) -> Reading:
    """Read the last token of each context; those before it are in the cache.

    Args:
        model: In evaluation mode.
        cache: A row a context, with room for one token more: see `slide`.
        contexts: Token ids.
        states: Return the states, too.

    Returns:
        The reading.
    """
    newest = torch.tensor([context[-1] for context in contexts])[:, None]
    reading = _read(model, newest, cache, torch.zeros_like(cache.lengths), states)
    cache.advance(1)
    return reading


def slide(model: GPT, cache: KVCache, contexts: Sequence[Sequence[int]]) -> Tensor:
    """If the cache is full, refill each full row with the last half of its context.

    Args:
        model: In evaluation mode.
        cache: A row a context.
        contexts: Token ids, the newest of which the cache does not hold yet.

    Returns:
        The numbers of the rows refilled, int64.
    """
    if cache.longest < model.config.n_positions:
        return cache.lengths.new_empty(0)
    rows = (cache.lengths == cache.longest).nonzero()[:, 0]
    kept = max(1, model.config.n_positions // 2) - 1  # the coming step reads the newest token
    if kept:
        halves = [contexts[row][-kept - 1 : -1] for row in rows.tolist()]
        _, half = read_prompts(model, halves, 0)
        cache.data[:, :, rows, :, :kept] = half.data
    cache.lengths[rows] = kept
    cache.advance(0)
    return rows


def _read(model: GPT, ids: Tensor, cache: KVCache, at: Tensor, states: bool) -> Reading:
    output = model(ids.to(model.device), cache=cache, logits_at=at, output_hidden_states=states)
    return Reading(output.logits[:, 0], output.hidden_states or ())


class TorchReader:
    """Reads with a `GPT`: see `gpt1.generation.readers.Reader`.

    Args:
        model: Any device, any dtype; inside a session it is in evaluation mode.
    """

    def __init__(self, model: GPT) -> None:
        self._model = model

    @contextmanager
    def session(self) -> Iterator[None]:
        """Without gradients and dropout."""
        with torch.inference_mode(), evaluation_mode(self._model):
            yield

    def read_prompts(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, copies: int
    ) -> Tensor:
        """See `Reader`."""
        read, self._cache = read_prompts(self._model, prompts, new_tokens)
        if copies == 1:
            return read.logits
        rows = torch.arange(len(prompts), device=read.logits.device)
        self._cache.select(rows.repeat_interleave(copies))
        return read.logits.repeat_interleave(copies, dim=0)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Reader`."""
        self._cache.select(torch.tensor(rows, device=self._model.device))

    def read_newest(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """See `Reader`."""
        slide(self._model, self._cache, contexts)
        return read_newest(self._model, self._cache, contexts).logits
