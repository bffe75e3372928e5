"""A GPT-1 with random weights whose greedy text varies, and a tokenizer for all of its ids."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gpt1.checkpoint import save_model
from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.text.detokenize import END_OF_WORD
from gpt1.text.vocabulary import UNKNOWN
from gpt1.tokenizer import NEWLINE_PIECE, Tokenizer

VOWELS = "aeiouy"
CONSONANTS = "bcdfghjklmnpqrstvwxz"
LETTERS = sorted(VOWELS + CONSONANTS)
MOST_TOKENS = 100_000


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
    """As many tokens as asked for, none of them special: letters, and words of syllables.

    As in the released vocabulary the words are of plain letters, and the last token is the newline.
    """
    pairs = list(islice(_merges(), max(0, vocab_size - 2 - 2 * len(LETTERS))))
    letters = [*LETTERS, *(letter + END_OF_WORD for letter in LETTERS)]
    tokens = [UNKNOWN, *letters, *map("".join, pairs)][: vocab_size - 1]
    vocabulary = {token: number for number, token in enumerate([*tokens, NEWLINE_PIECE])}
    merges = "".join(f"{first} {last}\n" for first, last in pairs)
    with TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        Path(folder, "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
        return Tokenizer.load(folder)


def _merges() -> Iterator[tuple[str, str]]:
    """Syllables, then words of two, three and more of them; a text of words has one reading."""
    letters = list(product(CONSONANTS, VOWELS))
    yield from letters
    ends = [(consonant, vowel + END_OF_WORD) for consonant, vowel in letters]
    while True:
        yield from ends
        ends = list(islice(product(map("".join, letters), map("".join, ends)), MOST_TOKENS))


def prompts(tokenizer: Tokenizer, batch: int, tokens: int) -> list[list[int]]:
    """Different texts of whole words, so that decoding and encoding leaves the ids as they are."""
    pieces = enumerate(tokenizer.pieces(range(len(tokenizer))))
    words = [token for token, piece in pieces if piece.endswith(END_OF_WORD) and piece[0].isalpha()]
    drawn = random.Random(1)
    return [drawn.choices(words, k=tokens) for _ in range(batch)]
