"""CTranslate2 over the folder that ``gpt1 export --format ctranslate2`` writes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers import Generate

TITLE = "CTranslate2"
NEEDS = ("ctranslate2",)
PRECISIONS = ("float32", "int8")
FAMILY = "gpt1"
MOST_PROMPT_TOKENS = None


def prepare(checkpoint: Path, folder: Path, precision: str) -> None:
    """Export the checkpoint."""
    import gpt1

    gpt1.export_model(checkpoint, folder, format="ctranslate2", dtype=precision)


def load(folder: Path, precision: str, threads: int) -> Generate:
    """``generate_batch`` with beams of one."""
    import ctranslate2

    tokens = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    generator = ctranslate2.Generator(
        str(folder), compute_type=precision, inter_threads=1, intra_threads=threads
    )

    def generate(prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
        results = generator.generate_batch(
            [[tokens[i] for i in prompt] for prompt in prompts],
            beam_size=1,
            sampling_topk=1,
            end_token=[],
            max_length=new_tokens,
            include_prompt_in_result=False,
        )
        return [list(result.sequences_ids[0]) for result in results]

    return generate
