"""LitGPT: its model with its key-value cache, in a loop like that of its ``generate``.

It has rotary positions only, so its model is a GPT-NeoX of the same matrices without any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.peers import Generate, shape

TITLE = "litgpt"
NEEDS = ("litgpt", "lightning")
PRECISIONS = ("float32", "16-bit")
FAMILY = "litgpt"
MOST_PROMPT_TOKENS = None
DTYPES = {"float32": "float32", "16-bit": "bfloat16"}


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Random weights."""
    import torch
    from litgpt.model import GPT

    sizes = shape(checkpoint)
    settings = {
        "name": "gpt1",
        "block_size": sizes["n_positions"],
        "vocab_size": sizes["vocab_size"],
        "padded_vocab_size": sizes["vocab_size"],
        "n_layer": sizes["n_layer"],
        "n_head": sizes["n_head"],
        "n_embd": sizes["n_embd"],
        "rotary_percentage": 0.0,
        "parallel_residual": False,
        "gelu_approximate": "tanh",
    }
    torch.manual_seed(0)
    model = GPT(_config(settings)).to(getattr(torch, DTYPES[precision]))
    torch.save(model.state_dict(), folder / "lit_model.pth")
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")


def _config(settings: dict[str, Any]) -> Any:
    from litgpt.config import Config

    return Config(**settings)


def load(folder: Path, precision: str, threads: int) -> Generate:
    """In float32 or bfloat16."""
    import torch
    from litgpt.model import GPT

    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):
        model = GPT(_config(settings))
    weights = torch.load(folder / "lit_model.pth", mmap=True, weights_only=True)
    model.load_state_dict(weights, assign=True)
    model.cos, model.sin = model.rope_cache(device=torch.device("cpu"))
    model.eval()

    @torch.inference_mode()
    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        length = len(prompts[0])
        model.clear_kv_cache()
        model.max_seq_length = length + new_tokens
        model.set_kv_cache(batch_size=len(prompts), dtype=getattr(torch, DTYPES[precision]))
        found, tokens, begin = [], torch.tensor(prompts), 0
        for end in range(length, length + new_tokens):
            logits = model(tokens, torch.arange(begin, end), input_pos_maxp1=end)
            tokens, begin = logits[:, -1:].argmax(-1), end
            found.append(tokens)
        ids: list[list[int]] = torch.cat(found, dim=1).tolist()
        return ids

    return generate
