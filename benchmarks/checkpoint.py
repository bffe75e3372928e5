"""A GPT-1 with random weights whose greedy text varies, and a tokenizer for all of its ids."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.text.detokenize import END_OF_WORD
from gpt1.tokenizer import Tokenizer

FIRST_LETTER = 0x1200
"""Ethiopic syllables: hundreds of letters that no normalisation of text changes."""


def write(folder: Path, config: GPTConfig) -> None:
    """Write a checkpoint folder."""
    save_model(folder, lively_model(config), words_tokenizer(config.vocab_size))


def lively_model(config: GPTConfig) -> GPT:
    """Random weights whose greedy text varies; as drawn for training, it repeats one token."""
    model = GPT(config).eval()
    generator = torch.Generator().manual_seed(0)
    model.reset_parameters(generator)
    with torch.no_grad():
        model.tokens_embed.weight.normal_(0.0, 0.05, generator=generator)
        model.positions_embed.weight.normal_(0.0, 0.5, generator=generator)
    return model


def words_tokenizer(vocab_size: int) -> Tokenizer:
    """As many tokens as asked for, none of them special: letters, and words of two letters."""
    letters = [
        chr(code)
        for code in range(FIRST_LETTER, FIRST_LETTER + 1000)
        if unicodedata.category(chr(code)) == "Lo"
    ][: math.isqrt(vocab_size - 1)]
    tokens = ["<unk>", *letters, *(letter + "</w>" for letter in letters)]
    pairs = list(islice(product(letters, letters), vocab_size - len(tokens)))
    tokens += [f"{first}{last}</w>" for first, last in pairs]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = "".join(f"{first} {last}</w>\n" for first, last in pairs)
    with TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        Path(folder, "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
        return Tokenizer.load(folder)


def prompts(tokenizer: Tokenizer, batch: int, tokens: int) -> list[list[int]]:
    """Different texts of whole words, so that decoding and encoding leaves the ids as they are."""
    pieces = tokenizer.pieces(range(len(tokenizer)))
    words = [token for token, piece in enumerate(pieces) if piece.endswith(END_OF_WORD)]
    drawn = random.Random(1)
    return [drawn.choices(words, k=tokens) for _ in range(batch)]
