"""A small random model whose text varies, and a small tokenizer, for tests of generation.

Freshly initialised, a GPT-1 repeats its last token for ever, and a test on it proves nothing.
"""

from __future__ import annotations

from typing import Any

import torch

from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer

TEXT = "The quick brown fox jumps over: the lazy dog's \"nose\" - it isn't, he said. Why? 12:30\n"


def lively_model(vocab_size: int = 80, n_positions: int = 16, seed: int = 0, **shape: Any) -> GPT:
    """Two layers of two heads, or another shape, in evaluation mode."""
    config = GPTConfig(
        n_layer=2, n_head=2, n_embd=32, n_positions=n_positions, vocab_size=vocab_size
    ).replace(**shape)
    model = GPT(config).eval()
    generator = torch.Generator().manual_seed(seed)
    model.reset_parameters(generator)
    with torch.no_grad():
        model.positions_embed.weight.normal_(0.0, 0.5, generator=generator)
        for parameter in model.h.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3, generator=generator)
    return model


def small_tokenizer(*, end_of_text: bool = True) -> Tokenizer:
    """A few dozen merges; with the tokens of fine-tuning."""
    tokenizer = Tokenizer.train([TEXT] * 3, merges=60)
    names = ["<|endoftext|>"] if end_of_text else []
    tokenizer.add_special_tokens([*names, "<pad>", "_start_"])
    return tokenizer
