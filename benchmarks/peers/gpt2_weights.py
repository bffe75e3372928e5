"""A GPT-2 of the shape of a GPT-1, with random weights: what stands in where a peer has no GPT-1.

The same matrices in the same order; GPT-2 has its norms before them, and one more at the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Tensors = dict[str, NDArray[np.float32]]


def write(folder: Path, shape: dict[str, Any]) -> None:
    """Write a checkpoint folder of transformers.

    Args:
        folder: Where to.
        shape: ``n_layer``, ``n_head``, ``n_embd``, ``n_positions`` and ``vocab_size``.
    """
    sizes = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        **{name: shape[name] for name in sizes},
        "bos_token_id": 0,
        "eos_token_id": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors(shape), folder / "model.safetensors", metadata={"format": "pt"})


def tensors(shape: dict[str, Any]) -> Tensors:
    """Weights by transformers' names, the same each time; their greedy text varies."""
    random = np.random.default_rng(0)
    width = shape["n_embd"]

    def normal(spread: float, *sizes: int) -> NDArray[np.float32]:
        return random.standard_normal(sizes, dtype=np.float32) * np.float32(spread)

    found = {
        "transformer.wte.weight": normal(0.05, shape["vocab_size"], width),
        "transformer.wpe.weight": normal(0.5, shape["n_positions"], width),
    }
    for block in range(shape["n_layer"]):
        name = f"transformer.h.{block}"
        for part, rows, columns in (
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, 4 * width),
            ("mlp.c_proj", 4 * width, width),
        ):
            found[f"{name}.{part}.weight"] = normal(0.02, rows, columns)
            found[f"{name}.{part}.bias"] = normal(0.02, columns)
        found |= _norm(f"{name}.ln_1", width) | _norm(f"{name}.ln_2", width)
    return found | _norm("transformer.ln_f", width)


def _norm(name: str, width: int) -> Tensors:
    one, zero = np.ones(width, np.float32), np.zeros(width, np.float32)
    return {f"{name}.weight": one, f"{name}.bias": zero}
