"""gpt1 as a user calls it: text goes in, so encoding and decoding are part of its time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.peers import Generate

TITLE = "gpt1"
NEEDS = ("gpt1",)
FAMILY = "gpt1"
MOST_PROMPT_TOKENS = None

SETTINGS: dict[str, dict[str, Any]] = {"float32": {}, "16-bit": {"dtype": "bfloat16"}}
"""What `gpt1.load` is told, by precision."""

PRECISIONS = tuple(SETTINGS)


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Copy the checkpoint."""
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)


def load(folder: Path, precision: str, threads: int) -> Generate:
    """`gpt1.load` and ``complete``."""
    import gpt1

    lm = gpt1.load(folder, **SETTINGS[precision])

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        texts = [lm.tokenizer.decode(prompt) for prompt in prompts]
        return [group[0].ids for group in lm.complete(texts, max_new_tokens=new_tokens)]

    return generate
