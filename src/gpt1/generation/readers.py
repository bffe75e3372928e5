"""How the decoding loop reads, on torch or on the C++ library: tokens of rows in, logits out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.generation.processors import Array
from gpt1.native.model import NativeModel

if TYPE_CHECKING:
    from gpt1.model import GPT

Network: TypeAlias = "GPT | NativeModel"
"""What text can be generated with."""

Ids: TypeAlias = Sequence[Sequence[int]]
"""Token ids of several texts."""


class Reader(Protocol):
    """Reads texts that grow, each a row."""

    def session(self) -> AbstractContextManager[Any]:
        """What the methods below are called inside of."""

    def read_prompts(self, prompts: Ids, new_tokens: int, copies: int) -> Array:
        """Read prompts, of which the last ``n_positions`` tokens each are seen.

        Args:
            prompts: Token ids, at least one a prompt.
            new_tokens: How many more a row will have at most.
            copies: Rows a prompt.

        Returns:
            Logits ``(B * copies, V)`` behind the prompts.
        """

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some rows only, given by their present numbers."""

    def read_newest(self, contexts: Ids) -> Array:
        """Read the last token of each row; logits ``(B, V)``.

        Args:
            contexts: All token ids of each row; those before the last have been read.
        """

    @property
    def room(self) -> int:
        """How many tokens each row can take, at least, before one is full."""

    def read_ahead(self, contexts: Ids, counts: Sequence[int]) -> Array:
        """Read the last tokens of each row; none may need more than there is `room`.

        Args:
            contexts: All token ids of each row.
            counts: How many of each row are not read yet.

        Returns:
            Logits ``(sum(counts), V)`` behind each of these tokens, row by row.
        """

    def forget(self, counts: Sequence[int]) -> None:
        """Take back that the last tokens of each row, so many, were read."""


def open_reader(model: Network, *, ahead: bool = False) -> Reader:
    """The reader for a model.

    Args:
        model: Reads.
        ahead: Whether `Reader.read_ahead` and what belongs to it will be called.
    """
    if isinstance(model, NativeModel):
        return NativeReader(model)
    from gpt1.generation.reading import TorchReader

    return TorchReader(model, ahead=ahead)


def to_numpy(array: Array) -> NDArray[Any]:
    """A NumPy array of the same numbers, those of bfloat16 as float32."""
    if isinstance(array, np.ndarray):
        return array
    numbers: NDArray[Any] = array.float().cpu().numpy()
    return numbers


class NativeReader:
    """Reads with a `NativeModel`.

    A row whose window is full slides: its last ``n_positions // 2`` tokens are read again as a
    fresh context, as `gpt1.generation.reading.slide` does.
    """

    def __init__(self, model: NativeModel) -> None:
        self._model = model

    def session(self) -> AbstractContextManager[None]:
        """Nothing to prepare."""
        return nullcontext()

    def read_prompts(self, prompts: Ids, new_tokens: int, copies: int) -> Array:
        """See `Reader`."""
        limit = self._model.config.n_positions
        prompts = [prompt[-limit:] for prompt in prompts]
        lengths = [len(prompt) for prompt in prompts]
        rows = range(0, len(prompts) * copies, copies)
        capacity = min(max(lengths) + new_tokens, limit)
        self._cache = self._model.new_cache(len(prompts) * copies, capacity)
        logits = self._read(prompts, rows)
        for row in rows:
            for copy in range(row + 1, row + copies):
                self._cache.copy_row(row, copy)
        self._rows = list(range(len(prompts) * copies))  # of the cache
        self._lengths = np.repeat(lengths, copies).tolist()
        return logits.repeat(copies, axis=0)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Reader`."""
        self._rows = [self._rows[row] for row in rows]
        self._lengths = [self._lengths[row] for row in rows]

    def read_newest(self, contexts: Ids) -> Array:
        """See `Reader`."""
        self._slide(contexts)
        newest = [context[-1] for context in contexts]
        logits = self._model.read(
            self._cache, newest, self._rows, self._lengths, range(len(newest))
        )
        self._lengths = [length + 1 for length in self._lengths]
        return logits

    @property
    def room(self) -> int:
        """See `Reader`."""
        room: int = self._cache.capacity - max(self._lengths)
        return room

    def read_ahead(self, contexts: Ids, counts: Sequence[int]) -> Array:
        """See `Reader`."""
        ids, places, rows = list[int](), list[int](), list[int]()
        sizes = zip(self._rows, contexts, self._lengths, counts, strict=True)
        for row, context, length, count in sizes:
            ids += context[len(context) - count :]
            places += range(length, length + count)
            rows += [row] * count
        self.forget([-count for count in counts])
        return self._model.read(self._cache, ids, rows, places, range(len(ids)))

    def forget(self, counts: Sequence[int]) -> None:
        """See `Reader`."""
        self._lengths = [
            length - count for length, count in zip(self._lengths, counts, strict=True)
        ]

    def _slide(self, contexts: Ids) -> None:
        limit = self._model.config.n_positions
        full = [row for row, length in enumerate(self._lengths) if length == limit]
        kept = max(1, limit // 2) - 1  # the newest token is read next
        if full and kept:
            self._read(
                [contexts[row][-kept - 1 : -1] for row in full], [self._rows[row] for row in full]
            )
        for row in full:
            self._lengths[row] = kept

    def _read(self, texts: Ids, rows: Sequence[int]) -> NDArray[np.float32]:
        """Read whole texts into rows of the cache; logits behind each."""
        ids, places, of_row, ends = list[int](), list[int](), list[int](), list[int]()
        for row, text in zip(rows, texts, strict=True):
            ids += text
            places += range(len(text))
            of_row += [row] * len(text)
            ends.append(len(ids) - 1)
        return self._model.read(self._cache, ids, of_row, places, ends)
