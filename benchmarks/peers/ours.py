"""gpt1 as a user calls it: text goes in, so encoding and decoding are part of its time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.peers import Generate
from gpt1.native.library import kernels

TITLE = "gpt1"
NEEDS = ("gpt1",)
FAMILY = "gpt1"
MOST_PROMPT_TOKENS = None

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {},
    "16-bit": {"dtype": "bfloat16"},
    "int8": {"quantize": "int8"},
    "int4": {"quantize": "int4"},
}
"""What `gpt1.load` is told, by precision."""

PRECISIONS = tuple(SETTINGS) if kernels() else ("float32", "16-bit")
"""Quantised weights are for the C++ library."""


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Write the checkpoint in that precision, where there is a format for it."""
    import gpt1
    from gpt1.export.formats import FORMATS

    if precision in FORMATS:
        gpt1.export_model(checkpoint, folder, format=precision)
    elif precision == "16-bit":
        gpt1.load(checkpoint, **SETTINGS[precision]).save(folder)
    else:
        shutil.copytree(checkpoint, folder, dirs_exist_ok=True)


def load(folder: Path, precision: str, threads: int) -> Generate:
    """`gpt1.load` and ``complete``."""
    import gpt1

    lm = gpt1.load(folder, **SETTINGS[precision])

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        texts = [lm.tokenizer.decode(prompt) for prompt in prompts]
        return [group[0].ids for group in lm.complete(texts, max_new_tokens=new_tokens)]

    return generate
