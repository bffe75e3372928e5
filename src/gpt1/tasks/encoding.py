"""Examples as token ids, in the layouts of the paper, cut to what the model can take.

A part that is too long is cut at its end: the longest parts are brought down to one length, so two
long texts keep the same number of tokens each, 254 with 512 positions, as in the authors' code,
while a short one leaves its share to the other. The options of a choice are cut last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from gpt1.errors import DataError
from gpt1.tasks.example import Example
from gpt1.tokenizer import CLASSIFY, DELIMITER, START, Tokenizer

SPECIAL_TOKENS = (START, DELIMITER, CLASSIFY)
EXAMPLES_AT_ONCE = 4096


class Encoded(NamedTuple):
    """Token ids of one example.

    Attributes:
        sequences: One or more, each from ``_start_`` to ``_classify_``.
        shared: Tokens at the beginning that all sequences have in common because they are the
            context of a choice, else 0.
    """

    sequences: tuple[tuple[int, ...], ...]
    shared: int


@dataclass(frozen=True)
class Truncation:
    """How much was cut.

    Attributes:
        examples: How many there are.
        cut: How many of them lost tokens.
        tokens_cut: Tokens they lost.
        tokens: Tokens all examples had before, special ones not counted; a context counts once.
    """

    examples: int
    cut: int
    tokens_cut: int
    tokens: int

    def __str__(self) -> str:
        if not self.cut:
            return "no example is too long"
        return (
            f"{self.cut:,} of {self.examples:,} examples are too long for the model and lose "
            f"{self.tokens_cut / self.tokens:.1%} of all tokens"
        )


class Special(NamedTuple):
    """Ids of the special tokens."""

    start: int
    delimiter: int
    classify: int


def encode_examples(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    n_positions: int,
    special: Special | None = None,
) -> tuple[list[Encoded], Truncation]:
    """Token ids of examples.

    Args:
        examples: Of any layout.
        tokenizer: Has the three special tokens of `SPECIAL_TOKENS`.
        n_positions: Longest sequence the model can take.
        special: Put these in their places instead; the tokenizer then need not have them.

    Returns:
        The ids, and how much was cut.

    Raises:
        DataError: If a sequence has no room for a token of each part.
    """
    special = special or Special(*map(tokenizer.token_id, SPECIAL_TOKENS))
    encoded: list[Encoded] = []
    cut = tokens_cut = tokens = 0
    stream = iter(examples)
    while batch := list(islice(stream, EXAMPLES_AT_ONCE)):
        texts = chain.from_iterable(part for e in batch for part in e.segments)
        ids = iter(tokenizer.encode_batch(texts))
        for example in batch:
            parts = [list(islice(ids, len(segment))) for segment in example.segments]
            before = _size(parts)
            encoded.append(arrange(example, parts, n_positions, special))
            after = _size(parts)
            tokens += before
            tokens_cut += before - after
            cut += before > after
    return encoded, Truncation(len(encoded), cut, tokens_cut, tokens)


def arrange(
    example: Example, parts: list[list[list[int]]], n_positions: int, special: Special
) -> Encoded:
    """Put the tokens of an example in the order the model reads them.

    Args:
        example: What they are of.
        parts: Tokens of each part of each segment; what is too long is cut from them.
        n_positions: Longest sequence the model can take.
        special: What stands between and around them.

    Raises:
        DataError: If a sequence has no room for a token of each part.
    """
    _truncate(parts, example.layout == "choice", n_positions)
    return _lay_out(example, [list(chain(*segment)) for segment in parts], special)


def _size(segments: list[list[list[int]]]) -> int:
    return sum(len(part) for segment in segments for part in segment)


def _lay_out(example: Example, segments: list[list[int]], special: Special) -> Encoded:
    """Put special tokens between and around (GPT-1 figure 1)."""
    start, delimiter, classify = special
    first, *others = segments
    if example.layout == "text":
        return Encoded(((start, *first, classify),), 0)
    sequences = tuple((start, *first, delimiter, *other, classify) for other in others)
    if example.layout == "similarity":
        [second] = others
        return Encoded((*sequences, (start, *second, delimiter, *first, classify)), 0)
    return Encoded(sequences, len(first) + 2 if example.layout == "choice" else 0)


def _truncate(segments: list[list[list[int]]], is_choice: bool, n_positions: int) -> None:
    """Shorten parts in place until every sequence fits."""
    room = n_positions - (2 if len(segments) == 1 else 3)
    context, options = segments, []
    if is_choice:  # the options are kept: each sequence has the whole context and one of them
        context, options = segments[:1], [segment[0] for segment in segments[1:]]
    parts = [part for segment in context for part in segment]
    if room < len(parts) + bool(options):
        raise DataError(
            f"n_positions is {n_positions}, which has no room for {len(parts) + bool(options)} "
            "texts and their special tokens; take a model with more positions"
        )
    limit = room - sum(1 for part in parts if part)  # a token of each part of the context stays
    for option in options:
        del option[limit:]
    room -= max(map(len, options), default=0)
    if sum(map(len, parts)) > room:
        longest = common_length([len(part) for part in parts], room)
        for part in parts:
            del part[longest:]


def common_length(lengths: Sequence[int], room: int) -> int:
    """The largest length so that parts cut to it fit: ``sum(min(length, it)) <= room``.

    Args:
        lengths: Tokens of each part, together more than ``room``.
        room: Tokens there is room for.

    Returns:
        At least ``room // len(lengths)``.
    """
    rest = room
    for number, length in enumerate(sorted(lengths)):
        share = rest // (len(lengths) - number)
        if length > share:
            return share
        rest -= length
    return max(lengths)
