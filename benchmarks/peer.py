"""transformers' GPT-1 and its tokenizer, as its users load them, without progress bars."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from gpt1.text.vocabulary import find_files

# Not all of its functions are typed.
transformers: Any = importlib.import_module("transformers")
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


def load_model(folder: str) -> Any:
    """The language model of a checkpoint folder, in evaluation mode."""
    return transformers.OpenAIGPTLMHeadModel.from_pretrained(folder)


def load_tokenizer(folder: str) -> Any:
    """The tokenizer over the files our tokenizer reads.

    Args:
        folder: With OpenAI's vocabulary and merges, or with a ``tokenizer.json``.
    """
    files = find_files(Path(folder))
    if len(files) == 1:
        return transformers.PreTrainedTokenizerFast(tokenizer_file=str(files[0]))
    vocabulary, merges = (file.read_text(encoding="utf-8") for file in files)
    pairs = [tuple(line.split()) for line in merges.split("\n")[1:] if line]
    return transformers.OpenAIGPTTokenizer(vocab=json.loads(vocabulary), merges=pairs)
