"""The authors' release of the weights: ten float32 .npy shards and a list of shapes (MIT, 2018).

The shards, joined end to end, are cut into tensors by the shapes: position table, token table, then
twelve tensors a block, matrices input-major as ours are.
"""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Mapping, Sized
from itertools import accumulate
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt1.config import GPTConfig
from gpt1.errors import CheckpointError
from gpt1.model import GPT

SHAPES = "params_shapes.json"
SHARDS = tuple(f"params_{number}.npy" for number in range(10))
HEAD_SIZE = 64
"""Width of the authors' heads; the release does not store it."""

_log = logging.getLogger(__name__)
_TABLES = ("positions_embed.weight", "tokens_embed.weight")
_BLOCK = tuple(
    f"{module}.{kind}"
    for module in ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2")
    for kind in ("weight", "bias")
)


def is_release(folder: Path) -> bool:
    """Whether a folder holds the authors' files rather than a `config.json`."""
    return (folder / SHAPES).is_file() and not (folder / "config.json").exists()


def read(folder: str | Path) -> dict[str, Tensor]:
    """Read the release.

    Args:
        folder: With `params_shapes.json` and `params_0.npy` to `params_9.npy`.

    Returns:
        Name to tensor, named and shaped as in `gpt1.GPT`: views of one block of memory.

    Raises:
        CheckpointError: If a file is missing or damaged, or sizes and shapes do not agree.
    """
    folder = Path(folder)
    shapes = _read_shapes(folder / SHAPES)
    shards = [_open_shard(folder / name) for name in SHARDS]
    sizes = [math.prod(shape) for shape in shapes]
    found = sum(shard.size for shard in shards)
    if found != sum(sizes):
        raise CheckpointError(
            f"the shards in {folder} hold {found:,} numbers but {SHAPES} describes {sum(sizes):,}; "
            "fetch the release again"
        )
    parts = np.split(np.concatenate(shards), list(accumulate(sizes))[:-1])
    names = _names(_block_count(shapes))
    return {
        # A matrix is stored as a convolution of width 1: (1, n_in, n_out).
        name: torch.from_numpy(part).view(shape[1:] if len(shape) == 3 else shape)
        for name, part, shape in zip(names, parts, shapes, strict=True)
    }


def write(folder: str | Path, model: GPT) -> None:
    """Write the ten shards and their shapes into an existing folder; the inverse of `read`.

    The format holds weights only: what `infer_config` would get wrong is logged as a warning.

    Args:
        folder: Gets the eleven files.
        model: Its weights are written as float32.
    """
    folder, config = Path(folder), model.config
    assumed = GPTConfig(n_embd=config.n_embd, n_head=max(1, config.n_embd // HEAD_SIZE))
    lost = [
        f"{name} ({getattr(config, name)})"
        for name in ("n_head", "afn", "layer_norm_epsilon")
        if getattr(config, name) != getattr(assumed, name)
    ]
    if lost:
        _log.warning("the authors' format does not store %s; note it elsewhere", ", ".join(lost))
    weights = model.state_dict()
    names = _names(config.n_layer)
    flat = torch.cat([weights[name].detach().cpu().float().flatten() for name in names]).numpy()
    for name, shard in zip(SHARDS, np.array_split(flat, len(SHARDS)), strict=True):
        buffer = io.BytesIO()  # straight to a file, NumPy does not say why a write failed
        np.save(buffer, shard, allow_pickle=False)
        (folder / name).write_bytes(buffer.getbuffer())
    shapes = _shapes(config.n_positions, config.vocab_size, config.n_embd, config.n_layer)
    (folder / SHAPES).write_text(json.dumps(shapes), encoding="utf-8")


def infer_config(tensors: Mapping[str, Tensor], n_head: int | None = None) -> GPTConfig:
    """Read the shape of the network off its tensors.

    Args:
        tensors: As `read` returns them.
        n_head: Attention heads, which no tensor shows; default: heads of the authors' width, 64.

    Returns:
        The configuration; what tensors do not show has the paper's values.

    Raises:
        CheckpointError: If n_head is needed because the width is no multiple of 64.
    """
    n_positions, n_embd = tensors["positions_embed.weight"].shape
    if n_head is None and n_embd % HEAD_SIZE:
        raise CheckpointError(
            f"the release does not store the number of heads, and n_embd {n_embd} is no multiple "
            f"of the authors' {HEAD_SIZE}; pass n_head"
        )
    return GPTConfig(
        vocab_size=len(tensors["tokens_embed.weight"]),
        n_positions=n_positions,
        n_embd=n_embd,
        n_layer=_block_count(tensors),
        n_head=n_head or n_embd // HEAD_SIZE,
    )


def _names(n_layer: int) -> list[str]:
    return [*_TABLES, *(f"h.{layer}.{name}" for layer in range(n_layer) for name in _BLOCK)]


def _block_count(tensors: Sized) -> int:
    return (len(tensors) - len(_TABLES)) // len(_BLOCK)


def _shapes(n_positions: int, vocab_size: int, n_embd: int, n_layer: int) -> list[list[int]]:
    attention = [[1, n_embd, 3 * n_embd], [3 * n_embd], [1, n_embd, n_embd], [n_embd]]
    mlp = [[1, n_embd, 4 * n_embd], [4 * n_embd], [1, 4 * n_embd, n_embd], [n_embd]]
    norm = [[n_embd], [n_embd]]
    block = [*attention, *norm, *mlp, *norm]
    return [[n_positions, n_embd], [vocab_size, n_embd], *(block * n_layer)]


def _read_shapes(path: Path) -> list[list[int]]:
    try:
        shapes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    try:
        (n_positions, n_embd), (vocab_size, _) = (map(index, shape) for shape in shapes[:2])
        expected = _shapes(n_positions, vocab_size, n_embd, _block_count(shapes))
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not begin with two table shapes: {error}") from error
    if shapes != expected:
        raise CheckpointError(
            f"{path} does not describe a GPT-1: it must list two tables and {len(_BLOCK)} shapes a "
            f"block, each of width {n_embd}; {_first_difference(shapes, expected)}"
        )
    return expected


def _first_difference(shapes: list[Any], expected: list[list[int]]) -> str:
    for number, (found, wanted) in enumerate(zip(shapes, expected, strict=False)):
        if found != wanted:
            return f"entry {number} is {found}, expected {wanted}"
    return f"it has {len(shapes)} entries"


def _open_shard(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        shard: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}; the release is {SHARDS[0]} to {SHARDS[-1]}"
        ) from error
    if not isinstance(shard, np.ndarray) or shard.dtype != np.float32:
        kind = getattr(shard, "dtype", type(shard).__name__)
        raise CheckpointError(f"{path} holds {kind} but must hold one float32 array")
    return shard.reshape(-1)
