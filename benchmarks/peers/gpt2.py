"""transformers' GPT-2, which has a key-value cache, as ``generate`` uses it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import Generate, gpt2_weights, shape
from benchmarks.peers.openai_gpt import generate_of

TITLE = "transformers gpt2"
NEEDS = ("transformers",)
PRECISIONS = ("float32", "16-bit")
FAMILY = "gpt2"
MOST_PROMPT_TOKENS = None


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """A GPT-2 of the same shape."""
    gpt2_weights.write(folder, shape(checkpoint))


def load(folder: Path, precision: str, threads: int) -> Generate:
    """In float32 or bfloat16."""
    from transformers import GPT2LMHeadModel

    dtype = {"float32": "float32", "16-bit": "bfloat16"}[precision]
    return generate_of(GPT2LMHeadModel.from_pretrained(folder, dtype=dtype).eval())
