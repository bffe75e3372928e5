"""transformers' GPT-1, which has no key-value cache: it reads the whole text for every token."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.peers import Generate

TITLE = "transformers openai-gpt"
NEEDS = ("transformers",)
PRECISIONS = ("float32",)
FAMILY = "gpt1"
MOST_PROMPT_TOKENS = 32


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Copy the checkpoint: it is in the format of transformers."""
    shutil.copytree(checkpoint, folder, dirs_exist_ok=True)


def load(folder: Path, precision: str, threads: int) -> Generate:
    """``generate`` as it comes."""
    from benchmarks import peer

    return generate_of(peer.load_model(str(folder)))


def generate_of(model: Any) -> Generate:
    """Greedy decoding by a model of transformers."""
    import torch

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        ids = torch.tensor(prompts, device=model.device)
        with torch.inference_mode():
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=new_tokens,
                eos_token_id=None,
                pad_token_id=0,
            )
        continuations: list[list[int]] = output[:, ids.shape[1] :].tolist()
        return continuations

    return generate
