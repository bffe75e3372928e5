"""One new token a row in steps whose shapes depend on no length, so that a GPU can replay them.

Kernels of a new token are short, and starting them one by one from Python takes longer than running
them. A CUDA graph starts all at once, but each time with the same shapes, on the same memory. Here,
therefore, a row is written at its own length, attention looks at a window of the cache somewhat
longer than the longest row, and a mask made on the device hides what is behind each row's end.

A step that is run again does the same again, so one run may warm up for the next.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from copy import copy
from functools import cache, partial
from typing import TypeAlias

import torch
from torch import Tensor

from gpt1.model import GPT, KVCache

logger = logging.getLogger(__name__)

LEAST_WINDOW = 64
"""Tokens of the smallest window."""

KEPT_BYTES = 2**31
"""A model's last cache and its graphs are kept for the next texts if it is not larger than this."""

Step: TypeAlias = Callable[[], Tensor]
"""Reads what is in the memory it is bound to; logits ``(B, V)``, overwritten by the next call."""


class StaticCache(KVCache):
    """A cache for one more token a row, in shapes that depend on no length.

    `lengths` is read on the device alone; `longest` and `shortest` are not kept.
    """

    def window(self, batch_size: int, tokens: int) -> StaticCache:
        """The first rows and tokens; the memory is shared."""
        view = copy(self)
        view.data = self.data[:, :, :batch_size, :, :tokens]
        view.lengths = self.lengths[:batch_size]
        return view

    @torch.no_grad()
    def write(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values at the end of each row and return all there is room for.

        Args:
            layer: Block number.
            k: ``(B, H, 1, K)``.
            v: ``(B, H, 1, K)``.

        Returns:
            Two views ``(B, H, S, K)`` with ``S = capacity``.
        """
        index = self.lengths[:, None, None, None].expand_as(k)
        keys, values = self.data[layer]
        return keys.scatter_(2, index, k), values.scatter_(2, index, v)


def read_one(model: GPT, ids: Tensor, cache: StaticCache) -> Tensor:
    """Read a token a row behind what is in the cache; nothing waits for the device.

    Args:
        model: In evaluation mode.
        ids: ``(B,)``, int64.
        cache: Its `lengths` say where the tokens belong; they stay as they are.

    Returns:
        Logits ``(B, V)``.
    """
    ends = cache.lengths[:, None]  # (B, 1)
    behind = torch.arange(cache.capacity, device=ids.device) > ends  # (B, S)
    # Added to scores: the fused kernels would make this of True and False, anew in every block.
    mask = torch.zeros(behind.shape, dtype=model.dtype, device=ids.device)
    mask = mask.masked_fill_(behind, float("-inf"))[:, None, None]
    states = model.hidden(ids[:, None], positions=ends, mask=mask, cache=cache)
    return model.lm_head(states[:, 0])


def window_size(tokens: int, limit: int) -> int:
    """The least of 64, 96, 128, 192, 256, 384 ... that holds so many tokens, or the limit."""
    power = 1 << max(LEAST_WINDOW.bit_length() - 1, (tokens - 1).bit_length())
    between = power * 3 // 4
    return min(between if between > LEAST_WINDOW and tokens <= between else power, limit)


class Steps:
    """Memory that texts are read in, and a step for each shape met so far.

    Args:
        model: Steps are recorded if its device is one of `CAPTURES`.
        batch_size: Most rows.
        capacity: Most tokens of a row.
        whole: Whether attention always looks at the whole cache: how a row is rounded then does
            not depend on the length of others.

    Attributes:
        data: Keys and values, as in `KVCache`.
        owner: Whose texts are in the memory.
    """

    def __init__(self, model: GPT, batch_size: int, capacity: int, *, whole: bool = False) -> None:
        device, dtype = model.device, model.dtype
        self._least_window = capacity if whole else 0
        self._cache = StaticCache(model.config, batch_size, capacity, device=device, dtype=dtype)
        self._inputs = torch.zeros(batch_size, 2, dtype=torch.long, device=device)
        self._cache.lengths = self._inputs[:, 1]
        self._weights = _where(model)
        capture = CAPTURES.get(device.type)
        self._capture: Capture | None = capture and capture(device)
        self._steps: dict[tuple[int, int], Step] = {}
        self.data = self._cache.data
        self.owner: weakref.ref[object] | None = None

    def serves(self, model: GPT, batch_size: int, capacity: int) -> bool:
        """Whether there is room, nobody's texts are inside, and the weights are where they were."""
        return (
            (self.owner is None or self.owner() is None)
            and batch_size <= self.data.shape[2]
            and capacity <= self.data.shape[4]
            and self._weights == _where(model)
        )

    def read(self, model: GPT, newest: Tensor) -> Tensor:
        """Read a token a row.

        Args:
            model: The one the steps are for, in evaluation mode.
            newest: ``(B, 2)``, int64, on the CPU: ids, and how many tokens of each row the cache
                holds.

        Returns:
            Logits ``(B, V)``, overwritten by the next call.
        """
        batch_size = len(newest)
        self._inputs[:batch_size] = newest
        longest = max(int(newest[:, 1].max()) + 1, self._least_window)
        shape = batch_size, window_size(longest, self._cache.capacity)
        if shape in self._steps:
            return self._steps[shape]()
        step = partial(read_one, model, self._inputs[:batch_size, 0], self._cache.window(*shape))
        if self._capture is None:
            return step()
        try:
            replay = self._steps[shape] = self._capture(step)
        except RuntimeError as error:
            _warn(str(error))
            self._capture = None
            return step()
        return replay()


_KEPT: weakref.WeakKeyDictionary[GPT, Steps] = weakref.WeakKeyDictionary()


def steps_for(model: GPT, owner: object, batch_size: int, capacity: int) -> Steps:
    """Steps for new texts: those kept of the model's last ones, if they serve, or new ones.

    Args:
        model: Its device must be one of `CAPTURES`.
        owner: They are free again when it is gone.
        batch_size: Rows.
        capacity: Most tokens a row will hold; as many as ``n_positions`` are enough.

    Returns:
        Steps whose cache is zeros as far as asked for.
    """
    capacity = window_size(capacity, model.config.n_positions)
    steps = _KEPT.pop(model, None)
    if steps is not None and steps.serves(model, batch_size, capacity):
        steps.data[:, :, :batch_size, :, :capacity] = 0.0  # a NaN would pass through the mask
    else:
        steps = Steps(model, batch_size, capacity)
    steps.owner = weakref.ref(owner)
    if steps.data.nbytes <= KEPT_BYTES:
        _KEPT[model] = steps
    return steps


def _where(model: GPT) -> tuple[object, ...]:
    """What a graph takes for granted of the weights, which training may change in place."""
    return (model.dtype, *(parameter.data_ptr() for parameter in model.parameters()))


class CudaGraphs:
    """Records steps once; a replay is started as a whole, without Python.

    Args:
        device: A GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()  # replays take turns, so they share memory

    def __call__(self, step: Step) -> Step:
        """Record a step.

        Args:
            step: Of fixed shapes, on fixed memory of the GPU.

        Returns:
            The replay; its logits are always in the same memory.

        Raises:
            RuntimeError: If the GPU or a kernel cannot do that.
        """
        here, graph = torch.cuda.current_stream(self._stream.device), torch.cuda.CUDAGraph()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            step()  # libraries set up what they need, which they may not while recording
            # Thread-local: other threads may go on using the GPU.
            with torch.cuda.graph(graph, self._pool, self._stream, "thread_local"):
                logits = step()
        here.wait_stream(self._stream)

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay


Capture: TypeAlias = Callable[[Step], Step]

CAPTURES: dict[str, Callable[[torch.device], Capture]] = {"cuda": CudaGraphs}
"""By type of device: what makes steps quick to start. On others, steps need not be static."""


@cache
def _warn(reason: str) -> None:
    logger.warning("decoding without CUDA graphs, which is slower: %s", reason)
