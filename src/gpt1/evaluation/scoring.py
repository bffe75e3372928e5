"""Log-probabilities of texts: token by token, and summed up as perplexity.

Conventions: nats; the first token of a text has nothing before it, so it is read but not scored.
A text of up to ``n_positions + 1`` tokens is scored exactly. In a longer one the window slides by
``n_positions // 2``: every later token is scored with at least ``n_positions - n_positions // 2``
tokens before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from gpt1.backbone import Backbone
from gpt1.errors import DataError
from gpt1.generation.decode import check_ids, evaluation_mode
from gpt1.model import token_log_probs

BATCH_TOKENS = 4096
"""Tokens of one forward pass, padding included; a window that is longer goes alone."""

TEXTS_AT_ONCE = 256
"""Texts that are ordered by length together; more of them are read in turn, to bound memory."""


@dataclass(frozen=True)
class Score:
    """How likely one text is.

    Attributes:
        ids: Token ids of the text.
        log_probs: Log-probability of each id given those before it, in nats; None for the first.
    """

    ids: list[int]
    log_probs: list[float | None]

    @property
    def sum(self) -> float:
        """Log-probability of the text given its first token, in nats; 0 below two tokens."""
        return math.fsum(self.log_probs[1:])  # type: ignore[arg-type]

    @property
    def num_tokens(self) -> int:
        """Number of tokens that are scored: all but the first."""
        return max(0, len(self.ids) - 1)


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts texts.

    Attributes:
        nats_per_token: Mean loss of the scored tokens.
        perplexity: ``exp(nats_per_token)``.
        bits_per_character: All loss, in bits, per character of the texts as they were given.
        tokens: Number of scored tokens.
        characters: Number of characters, of the texts with at least one scored token.
        texts: Number of such texts.
    """

    nats_per_token: float
    perplexity: float
    bits_per_character: float
    tokens: int
    characters: int
    texts: int


class Window(NamedTuple):
    """Part of a text that is read in one pass.

    Attributes:
        text: Which text.
        start: First token read.
        first: First token scored.
        end: The tokens up to here, exclusive, are scored; the last of them is not read.
    """

    text: int
    start: int
    first: int
    end: int

    @property
    def size(self) -> int:
        """Tokens read."""
        return self.end - 1 - self.start


def windows(text: int, num_tokens: int, n_positions: int) -> Iterator[Window]:
    """Cut a text into windows that score each of its tokens but the first once, in order.

    Args:
        text: Its number.
        num_tokens: Its length.
        n_positions: Tokens the model can read at once.

    Yields:
        Windows that read at most ``n_positions`` tokens.
    """
    stride = max(1, n_positions // 2)
    first = 1
    while first < num_tokens:
        end = min(num_tokens, first + (n_positions if first == 1 else stride))
        yield Window(text, max(0, end - 1 - n_positions), first, end)
        first = end


def score_ids(model: Backbone, texts: Sequence[Sequence[int]]) -> list[Score]:
    """Score texts given as token ids, in batches of similar length.

    Args:
        model: Any device, any dtype.
        texts: Ids in ``[0, V)``.

    Returns:
        One `Score` a text, in order.

    Raises:
        DataError: If an id is outside the vocabulary.
    """
    check_ids("text", texts, model.config.vocab_size)
    log_probs: list[list[float | None]] = [[None] * len(ids) for ids in texts]
    limit = model.config.n_positions
    todo = [w for number, ids in enumerate(texts) for w in windows(number, len(ids), limit)]
    for batch in _batches(todo):
        values = iter(_log_probs_of_batch(model, texts, batch))
        for window in batch:
            scored = list(islice(values, window.end - window.first))
            log_probs[window.text][window.first : window.end] = scored
    return [Score(list(ids), row) for ids, row in zip(texts, log_probs, strict=True)]


def _batches(todo: list[Window]) -> Iterator[list[Window]]:
    """Windows by length, as many together as `BATCH_TOKENS` allows."""
    batch: list[Window] = []
    for window in sorted(todo, key=lambda window: window.size):
        if batch and (len(batch) + 1) * window.size > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


@torch.inference_mode()
def _log_probs_of_batch(
    model: Backbone, texts: Sequence[Sequence[int]], batch: list[Window]
) -> list[float]:
    """Log-probabilities of the scored tokens of the windows, one window after the other."""
    read = [texts[w.text][w.start : w.end - 1] for w in batch]
    states = hidden_states(model, read)
    scored = [states[row, w.first - 1 - w.start : w.size] for row, w in enumerate(batch)]
    targets = [token for w in batch for token in texts[w.text][w.first : w.end]]
    table = model.tokens_embed.weight
    values: list[float] = token_log_probs(
        torch.cat(scored), table, torch.tensor(targets, device=model.device)
    ).tolist()
    return values


def hidden_states(model: Backbone, rows: Sequence[Sequence[int]]) -> Tensor:
    """What `lm_head` scores, ``(B, T, D)``, for rows of ids padded on the right to ``T``."""
    longest = max(map(len, rows))
    padded = [[*row, *[0] * (longest - len(row))] for row in rows]
    with evaluation_mode(model):
        return model.hidden(torch.tensor(padded, device=model.device))


def perplexity(model: Backbone, texts: Iterable[tuple[str, Sequence[int]]]) -> Perplexity:
    """Mean loss of a model over texts.

    Args:
        model: Any device, any dtype.
        texts: Each text and its token ids; read as they are needed.

    Returns:
        A `Perplexity`; texts with fewer than two tokens count for nothing.

    Raises:
        DataError: If no text has two tokens.
    """
    total, tokens, characters, count = 0.0, 0, 0, 0
    stream = iter(texts)
    while group := list(islice(stream, TEXTS_AT_ONCE)):
        scores = score_ids(model, [ids for _, ids in group])
        for (text, _), score in zip(group, scores, strict=True):
            total -= score.sum
            tokens += score.num_tokens
            characters += len(text) if score.num_tokens else 0
            count += score.num_tokens > 0
    if not tokens:
        raise DataError(
            "there is nothing to score: no text has two or more tokens, and a text's first token "
            "has nothing before it to be predicted from; check the data or the column"
        )
    mean = total / tokens
    return Perplexity(
        nats_per_token=mean,
        perplexity=math.inf if mean > 700 else math.exp(mean),
        bits_per_character=total / math.log(2) / characters,
        tokens=tokens,
        characters=characters,
        texts=count,
    )
