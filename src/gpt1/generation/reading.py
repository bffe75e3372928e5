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
from gpt1.generation.static_step import CAPTURES, steps_for
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
    half = _read_half(model, [contexts[row] for row in rows.tolist()])
    cache.data[:, :, rows, :, : half.capacity] = half.data
    cache.lengths[rows] = half.capacity
    cache.advance(0)
    return rows


def _read_half(model: GPT, contexts: Sequence[Sequence[int]]) -> KVCache:
    """A cache that holds the last half of each context, less the newest token, and is full."""
    kept = max(1, model.config.n_positions // 2) - 1  # the coming step reads the newest token
    if kept == 0:
        return KVCache(model.config, len(contexts), 0, device=model.device, dtype=model.dtype)
    return read_prompts(model, [context[-kept - 1 : -1] for context in contexts], 0)[1]


def _read(model: GPT, ids: Tensor, cache: KVCache, at: Tensor, states: bool) -> Reading:
    output = model(ids.to(model.device), cache=cache, logits_at=at, output_hidden_states=states)
    return Reading(output.logits[:, 0], output.hidden_states or ())


class TorchReader:
    """Reads with a `GPT`: see `gpt1.generation.readers.Reader`.

    On a GPU new tokens are read by CUDA graphs: see `gpt1.generation.static_step`.

    Args:
        model: Any device, any dtype; inside a session it is in evaluation mode.
        ahead: Whether `read_ahead` will be called, whose steps vary in size: no graphs then.
    """

    def __init__(self, model: GPT, *, ahead: bool = False) -> None:
        self._model, self._ahead = model, ahead

    @contextmanager
    def session(self) -> Iterator[None]:
        """Without gradients and dropout."""
        with torch.inference_mode(), evaluation_mode(self._model):
            yield

    def read_prompts(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, copies: int
    ) -> Tensor:
        """See `Reader`."""
        static = self._model.device.type in CAPTURES and not self._ahead
        read, cache = read_prompts(self._model, prompts, 0 if static else new_tokens)
        logits = read.logits
        if copies > 1:
            rows = torch.arange(len(prompts), device=logits.device).repeat_interleave(copies)
            cache.select(rows)
            logits = logits[rows]
        self._rows: StaticRows | GrowingRows
        if static:
            self._rows = StaticRows(self._model, cache, new_tokens)
        else:
            self._rows = GrowingRows(self._model, cache)
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """See `Reader`."""
        self._rows.keep(rows)

    def read_newest(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """See `Reader`."""
        return self._rows.read_newest(contexts)

    @property
    def room(self) -> int:
        """See `Reader`."""
        return self._growing.room

    def read_ahead(self, contexts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """See `Reader`."""
        return self._growing.read_ahead(contexts, counts)

    def forget(self, counts: Sequence[int]) -> None:
        """See `Reader`."""
        self._growing.forget(counts)

    @property
    def _growing(self) -> GrowingRows:
        assert isinstance(self._rows, GrowingRows)
        return self._rows


class GrowingRows:
    """Texts whose new tokens are read over as much of a cache as is filled.

    Args:
        model: In evaluation mode.
        cache: Holds the prompts, a row a text, and has room for what follows.
    """

    def __init__(self, model: GPT, cache: KVCache) -> None:
        self._model, self._cache = model, cache

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows only."""
        self._cache.select(torch.tensor(rows, device=self._model.device))

    def read_newest(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Logits ``(B, V)`` behind the last token of each context."""
        slide(self._model, self._cache, contexts)
        return read_newest(self._model, self._cache, contexts).logits

    @property
    def room(self) -> int:
        """Tokens each text can take at least."""
        return self._cache.capacity - self._cache.longest

    def read_ahead(self, contexts: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """See `Reader`."""
        padded = torch.zeros(len(counts), max(counts), dtype=torch.long)
        for row, (context, count) in enumerate(zip(contexts, counts, strict=True)):
            padded[row, :count] = torch.tensor(context[len(context) - count :])
        logits: Tensor = self._model(padded.to(self._model.device), cache=self._cache).logits
        sizes = torch.tensor(counts, device=logits.device)
        self._cache.advance(sizes)
        return logits[torch.arange(max(counts), device=logits.device) < sizes[:, None]]

    def forget(self, counts: Sequence[int]) -> None:
        """See `Reader`."""
        self._cache.advance(-torch.tensor(counts, device=self._model.device))


class StaticRows:
    """Texts whose new tokens are read in steps of fixed shape.

    A text that leaves stays as an empty row, until half of the rows are empty: shapes then change
    seldom. Lengths are kept here, so that nothing waits for the device.

    Args:
        model: In evaluation mode.
        cache: Holds the prompts, a row a text; it is copied.
        new_tokens: How many more a text will have at most.
    """

    def __init__(self, model: GPT, cache: KVCache, new_tokens: int) -> None:
        self._model = model
        self._lengths: list[int] = cache.lengths.tolist()
        self._batch_size = len(self._lengths)
        self._places = list(range(self._batch_size))  # the row of the steps' cache of each text
        self._steps = steps_for(model, self, self._batch_size, cache.longest + new_tokens)
        self._steps.data[:, :, : self._batch_size, :, : cache.capacity] = cache.data

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows only."""
        self._places = [self._places[row] for row in rows]
        self._lengths = [self._lengths[row] for row in rows]
        if 2 * len(rows) <= self._batch_size:
            self._steps.data[:, :, : len(rows)] = self._steps.data[:, :, self._places]
            self._batch_size = len(rows)
            self._places = list(range(len(rows)))

    def read_newest(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Logits ``(B, V)`` behind the last token of each context, until the next call."""
        self._slide(contexts)
        newest = torch.zeros(self._batch_size, 2, dtype=torch.long)
        ids = [context[-1] for context in contexts]
        newest[self._places] = torch.tensor([ids, self._lengths]).T
        logits = self._steps.read(self._model, newest)
        self._lengths = [length + 1 for length in self._lengths]
        return logits if len(ids) == len(logits) else logits[self._places]

    def _slide(self, contexts: Sequence[Sequence[int]]) -> None:
        """As `slide` does."""
        limit = self._model.config.n_positions
        full = [row for row, length in enumerate(self._lengths) if length == limit]
        if not full:
            return
        half = _read_half(self._model, [contexts[row] for row in full])
        places = [self._places[row] for row in full]
        self._steps.data[:, :, places, :, : half.capacity] = half.data
        for row in full:
            self._lengths[row] = half.capacity
