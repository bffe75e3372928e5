"""Rows of a cache that texts join and leave one by one: what continuous batching reads with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from gpt1.generation.readers import Network
from gpt1.native.model import NativeModel

if TYPE_CHECKING:
    import torch

    from gpt1.model import GPT, KVCache


class Slots(Protocol):
    """Rows of a cache, each with room for ``n_positions`` tokens.

    Attributes:
        grain: What a row is read in has to begin at multiples of so many tokens, and to end at one
            or at the end of the text, if the same text is to give the same logits to the last bit.
    """

    grain: int

    def read(
        self,
        ids: Sequence[int],
        rows: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int],
    ) -> NDArray[np.float32]:
        """Read tokens and score what may follow some of them: see `NativeModel.read`."""

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Make a row hold the first tokens of another."""


def open_slots(model: Network, count: int) -> Slots:
    """Slots of a model: a `GPT`, in evaluation mode, on any device; or a `NativeModel`."""
    if isinstance(model, NativeModel):
        return NativeSlots(model, count)
    return TorchSlots(model, count)


class NativeSlots:
    """Slots of a `NativeModel`, whose logits do not depend on what is read at once."""

    grain = 1

    def __init__(self, model: NativeModel, count: int) -> None:
        self._model = model
        self._cache = model.new_cache(count)

    def read(
        self,
        ids: Sequence[int],
        rows: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int],
    ) -> NDArray[np.float32]:
        """See `Slots`."""
        return self._model.read(self._cache, ids, rows, positions, wanted)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """See `Slots`."""
        self._cache.copy_row(source, target, tokens)


class TorchSlots:
    """Slots of a `GPT`.

    How torch rounds depends on the shapes it computes with, so they depend on nothing: newest
    tokens are read by a step over all rows, whether they have one or not, and others row by row, in
    pieces that begin at multiples of `grain`.
    """

    grain = 32

    def __init__(self, model: GPT, count: int) -> None:
        from gpt1.generation.static_step import Steps

        self._model = model
        self._steps = Steps(model, count, model.config.n_positions, whole=True)
        self._lengths = [0] * count

    def read(
        self,
        ids: Sequence[int],
        rows: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int],
    ) -> NDArray[np.float32]:
        """See `Slots`."""
        import torch

        behind: dict[int, torch.Tensor] = {}  # logits, by number of the token
        newest: list[int] = []
        with torch.inference_mode():
            for row, numbers in groupby(range(len(ids)), rows.__getitem__):
                piece = list(numbers)
                if len(piece) == 1:
                    newest += piece
                else:
                    logits = self._read_piece([ids[i] for i in piece], row, positions[piece[0]])
                    behind |= dict(zip(piece, logits, strict=True))
                self._lengths[row] = positions[piece[-1]] + 1
            if newest:
                places = [(rows[i], ids[i], positions[i]) for i in newest]
                logits = self._read_newest(places)
                behind |= dict(zip(newest, logits, strict=True))
            if not wanted:
                return np.empty((0, self._model.config.vocab_size), np.float32)
            chosen: NDArray[np.float32] = (
                torch.stack([behind[i] for i in wanted]).float().cpu().numpy()
            )
        return chosen

    def _read_piece(self, ids: list[int], row: int, start: int) -> torch.Tensor:
        """Read several tokens of one row; logits ``(T, V)``."""
        import torch

        cache = self._row(row, start)
        logits: torch.Tensor = self._model(
            torch.tensor([ids], device=self._model.device), cache=cache
        ).logits[0]
        return logits

    def _row(self, row: int, length: int) -> KVCache:
        """A row as a cache of its own; the memory is shared."""
        from gpt1.model import KVCache

        cache = KVCache(self._model.config, 1, 0, device=self._model.device)
        cache.data = self._steps.data[:, :, row : row + 1]
        cache.advance(length)
        return cache

    def _read_newest(self, places: Sequence[tuple[int, int, int]]) -> torch.Tensor:
        """Read one token of each of some rows, given with id and position; logits ``(B, V)``.

        The other rows read something, too, where nothing is yet; or in the last place of a full
        row, which no other text has use for: it begins with at most one token less.
        """
        import torch

        limit = self._model.config.n_positions - 1
        inputs = torch.tensor([[0, min(length, limit)] for length in self._lengths])
        for row, token, position in places:
            inputs[row, 0], inputs[row, 1] = token, position
        return self._steps.read(self._model, inputs)[[row for row, _, _ in places]]

    def copy(self, source: int, target: int, tokens: int) -> None:
        """See `Slots`."""
        self._steps.data[:, :, target, :, :tokens] = self._steps.data[:, :, source, :, :tokens]
        self._lengths[target] = tokens
