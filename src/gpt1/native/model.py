"""The network, run by the C++ library: any tokens of any rows in, logits out."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GPTConfig
from gpt1.native.library import (
    ACTIVATIONS,
    FORMATS,
    MATRICES,
    NORMS,
    SPAN,
    Cache,
    Layer,
    Matrix,
    Shape,
    default_threads,
    kernels,
    library,
)
from gpt1.native.weights import Arena, Tensor, forget, layout, pack, padded, place

CHUNK = 256
"""Tokens read in one pass; what is longer takes several."""


def supports(config: GPTConfig) -> bool:
    """Whether the library is here and made for a network of this shape.

    It takes widths and head sizes that are multiples of 16.
    """
    fits = config.n_embd % 16 == 0 and config.head_size % 16 == 0
    return fits and config.afn in ACTIVATIONS and kernels() is not None


def matrix_sizes(config: GPTConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the `MATRICES` of a block."""
    d = config.n_embd
    return dict(zip(MATRICES, [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)], strict=True))


def _size(config: GPTConfig, form: str) -> int:
    """Bytes of all packed matrices."""
    all_sizes = [*matrix_sizes(config).values()] * config.n_layer
    all_sizes.append((config.n_embd, config.vocab_size))
    shapes = [layout(form, *sizes) for sizes in all_sizes]
    return sum(
        Arena.size_of((data, kind), *([] if scales is None else [(scales, "float16")]))
        for data, kind, scales in shapes
    )


class NativeCache:
    """Keys and values of the tokens read so far, in memory set aside once.

    Args:
        config: Of the model it is for.
        rows: Texts it holds.
        capacity: Tokens it has room for, each row.
        form: Number format of the keys and values: float32, or float16, where what is beyond its
            largest number, 65,504, is that.

    Attributes:
        keys: ``(n_layer, rows, n_head, stride // SPAN, head_size, SPAN)``; stride is the capacity,
            rounded up to a multiple of `gpt1.native.library.SPAN`.
        values: ``(n_layer, rows, n_head, stride, head_size)``.
    """

    def __init__(self, config: GPTConfig, rows: int, capacity: int, form: str = "float32") -> None:
        stride = padded(capacity, SPAN)
        heads = (config.n_layer, rows, config.n_head)
        keys = (*heads, stride // SPAN, config.head_size, SPAN)
        values = (*heads, stride, config.head_size)
        arena = Arena(Arena.size_of((keys, form), (values, form)))
        self.keys, self.values = arena.take(keys, form), arena.take(values, form)
        self.capacity = capacity
        self._as_parameter_ = Cache(
            self.keys.ctypes.data, self.values.ctypes.data, FORMATS[form], rows, stride
        )

    def copy_row(self, source: int, target: int, tokens: int | None = None) -> None:
        """Make a row hold the first tokens of another; default: all."""
        spans = None if tokens is None else -(-tokens // SPAN)
        self.keys[:, target, :, :spans] = self.keys[:, source, :, :spans]
        self.values[:, target, :, :tokens] = self.values[:, source, :, :tokens]


class NativeModel:
    """GPT-1 on the C++ library.

    What it computes for a token depends on the tokens before it alone, to the last bit: not on the
    other rows, on how much is read at once, or on the number of threads.

    Args:
        config: Shape of the network; see `supports`.
        tensors: By the names of a checkpoint; matrices that are quantized already stay as they are.
        form: Number format to keep the matrices in, one of `gpt1.native.library.FORMATS`.
        threads: To compute with; default: as many as there are cores.
        instructions: One of `gpt1.native.library.KERNELS`; default: the best there is.

    Attributes:
        config: Shape of the network.
        form: Number format of its matrices.
    """

    def __init__(
        self,
        config: GPTConfig,
        tensors: Mapping[str, Tensor],
        form: str = "float32",
        threads: int | None = None,
        instructions: str | None = None,
    ) -> None:
        loaded, chosen = library(), kernels(instructions)
        assert loaded is not None
        assert chosen is not None
        self.config, self.form = config, form
        self._library, self._threads = loaded, threads or default_threads()
        self._kept: list[Any] = []  # what the library points to
        shape = Shape(
            *(config.n_layer, config.n_head, config.n_embd, config.n_positions, config.vocab_size),
            *(ACTIVATIONS[config.afn], config.layer_norm_epsilon),
        )
        arena = Arena(_size(config, form))
        table = tensors["tokens_embed.weight"]
        tokens = self._pack(table, (config.n_embd, config.vocab_size), arena, transposed=True)
        layers = (Layer * config.n_layer)(
            *(self._layer(tensors, f"h.{number}", arena) for number in range(config.n_layer))
        )
        positions = self._floats(tensors["positions_embed.weight"])
        handle = loaded.gpt1_new(shape, tokens, positions, layers, self._threads, chosen.encode())
        self._handle = ctypes.c_void_p(handle)
        self._lock = Lock()
        # At the end of the process the system frees all; after a fork, the threads are not ours.
        free = weakref.finalize(self, _free, loaded, self._handle, os.getpid())
        free.atexit = False

    def _layer(self, tensors: Mapping[str, Tensor], name: str, arena: Arena) -> Layer:
        sizes = matrix_sizes(self.config)
        return Layer(
            *(self._pack(tensors[f"{name}.{m}.weight"], sizes[m], arena) for m in MATRICES),
            *(self._floats(tensors[f"{name}.{matrix}.bias"]) for matrix in MATRICES),
            *(
                self._floats(tensors[f"{name}.{norm}.{part}"])
                for norm in NORMS
                for part in ("weight", "bias")
            ),
        )

    def _pack(
        self, tensor: Tensor, sizes: tuple[int, int], arena: Arena, *, transposed: bool = False
    ) -> Matrix:
        if tensor.scales is not None:
            packed = place(tensor, *sizes, arena)
        else:
            packed = pack(tensor, self.form, arena, transposed=transposed, threads=self._threads)
        forget(tensor.array)
        self._kept.append(packed)
        return packed.matrix()

    def _floats(self, tensor: Tensor) -> int:
        values = tensor.floats()
        self._kept.append(values)
        return values.ctypes.data

    def new_cache(self, rows: int, capacity: int | None = None) -> NativeCache:
        """An empty cache for ``capacity`` tokens a row (default: n_positions).

        Keys and values are kept in float32 where the matrices are, and in float16 elsewhere.
        """
        form = "float32" if self.form == "float32" else "float16"
        return NativeCache(self.config, rows, capacity or self.config.n_positions, form)

    def read(
        self,
        cache: NativeCache,
        ids: Sequence[int],
        rows: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int],
        *,
        states: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Read tokens into the cache and score what may follow some of them.

        Args:
            cache: The tokens before them are in it.
            ids: Of the tokens, each in ``[0, V)``.
            rows: Of the cache, one a token. A row's tokens come in the order of the text.
            positions: In its row, one a token, each below the cache's capacity.
            wanted: Numbers, ascending, of the tokens to score what follows.
            states: ``(len(wanted), n_embd)``: gets the output of the last block, if given.

        Returns:
            Logits ``(len(wanted), V)``.
        """
        numbers = np.array((ids, rows, positions), dtype=np.int32)
        chosen = np.asarray(wanted, dtype=np.int32)
        logits = np.empty((len(chosen), self.config.vocab_size), np.float32)
        for start in range(0, numbers.shape[1], CHUNK):
            part = np.ascontiguousarray(numbers[:, start : start + CHUNK])
            first, last = np.searchsorted(chosen, (start, start + CHUNK))
            here = chosen[first:last] - start
            with self._lock:
                self._library.gpt1_read(
                    *(self._handle, cache._as_parameter_, part.shape[1]),
                    *(row.ctypes.data for row in part),
                    *(len(here), here.ctypes.data),
                    None if states is None else states[first:last].ctypes.data,
                    logits[first:last].ctypes.data,
                )
        return logits

    def log_probs(self, texts: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Score whole texts.

        Args:
            texts: Token ids of each, at most ``n_positions + 1``.

        Returns:
            Of each text, the log-probabilities of all its tokens but the first, in nats.
        """
        found = []
        cache = self.new_cache(1, max((len(text) for text in texts), default=1))
        for text in texts:
            scored = np.empty(max(0, len(text) - 1), np.float32)
            ids = np.asarray(text, dtype=np.int32)
            places, rows = np.arange(len(ids), dtype=np.int32), np.zeros_like(ids)
            for start in range(0, len(scored), CHUNK):
                count = min(CHUNK, len(scored) - start)
                arrays = (ids[start:], rows, places[start:], ids[start + 1 :], scored[start:])
                with self._lock:
                    self._library.gpt1_score(
                        *(self._handle, cache._as_parameter_, count),
                        *(array.ctypes.data for array in arrays),
                    )
            found.append(scored)
        return found


def _free(loaded: ctypes.CDLL, handle: ctypes.c_void_p, process: int) -> None:
    if os.getpid() == process:
        loaded.gpt1_free(handle)
