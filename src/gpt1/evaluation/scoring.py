"""Log-probabilities of texts: token by token, and summed up as perplexity.

Conventions: nats; the first token of a text has nothing before it, so it is read but not scored.
A text of up to ``n_positions + 1`` tokens is scored exactly. In a longer one the window slides by
``stride`` tokens: every later token is scored with at least ``n_positions + 1 - stride`` tokens
before it. Stride 1 is exact: each has the ``n_positions`` tokens before it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.backbone import Backbone, evaluation_mode
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation import processes
from gpt1.evaluation.bootstrap import interval, resampled_sums
from gpt1.generation.decode import check_ids
from gpt1.model import token_log_probs
from gpt1.native.model import NativeModel

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
class Document:
    """How well a model predicts one of several texts.

    Attributes:
        number: Its place among them, from 0.
        name: Where it is from, where that is known: ``jokes.csv:12`` is a file and a line of it.
        tokens: Number of scored tokens: all but the first.
        nats: Their loss, summed up.
        characters: Number of characters of the text as it was given.
        utf8_bytes: Size of the text in UTF-8.
        nats_per_token: Mean loss; None, as are the next two, if no token is scored.
        bits_per_character: The loss, in bits, per character.
        bits_per_byte: The loss, in bits, per byte of UTF-8.
    """

    number: int
    name: str | None
    tokens: int
    nats: float
    characters: int
    utf8_bytes: int
    nats_per_token: float | None
    bits_per_character: float | None
    bits_per_byte: float | None


@dataclass(frozen=True)
class Interval:
    """95% confidence intervals, each a lower and an upper end; see `gpt1.evaluation.bootstrap`.

    Attributes:
        nats_per_token: Of the figure of that name in `Perplexity`, as are the others.
        perplexity: Of the perplexity.
        bits_per_character: Of the bits per character.
        bits_per_byte: Of the bits per byte.
    """

    nats_per_token: tuple[float, float]
    perplexity: tuple[float, float]
    bits_per_character: tuple[float, float]
    bits_per_byte: tuple[float, float]


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts texts.

    Attributes:
        nats_per_token: Mean loss of the scored tokens.
        perplexity: ``exp(nats_per_token)``.
        bits_per_character: All loss, in bits, per character of the texts as they were given.
        bits_per_byte: The same per byte of their UTF-8.
        tokens: Number of scored tokens.
        characters: Number of characters, of the texts with at least one scored token.
        utf8_bytes: Size of such texts in UTF-8.
        texts: Number of such texts.
        stride: Tokens the window slid by in long texts; 1 is exact.
        interval: How far other texts of the kind could have led elsewhere; None of one text, for
            which there is nothing to resample.
    """

    nats_per_token: float
    perplexity: float
    bits_per_character: float
    bits_per_byte: float
    tokens: int
    characters: int
    utf8_bytes: int
    texts: int
    stride: int
    interval: Interval | None


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


def windows(text: int, num_tokens: int, n_positions: int, stride: int) -> Iterator[Window]:
    """Cut a text into windows that score each of its tokens but the first once, in order.

    Args:
        text: Its number.
        num_tokens: Its length.
        n_positions: Tokens the model can read at once.
        stride: Tokens scored by each window but the first, in ``[1, n_positions]``.

    Yields:
        Windows that read at most ``n_positions`` tokens.
    """
    first = 1
    while first < num_tokens:
        end = min(num_tokens, first + (n_positions if first == 1 else stride))
        yield Window(text, max(0, end - 1 - n_positions), first, end)
        first = end


def checked_stride(stride: int | None, n_positions: int) -> int:
    """The stride to use: ``n_positions // 2`` for None.

    Raises:
        ConfigError: If it is not in ``[1, n_positions]``.
    """
    if stride is None:
        return max(1, n_positions // 2)
    if not 1 <= stride <= n_positions:
        raise ConfigError(
            f"stride is {stride} but must be from 1, which is exact, to the model's "
            f"{n_positions} positions, which is fastest"
        )
    return stride


def score_ids(
    model: Backbone | NativeModel,
    texts: Sequence[Sequence[int]],
    *,
    stride: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> list[Score]:
    """Score texts given as token ids, in batches of similar length.

    Args:
        model: Of torch, on any device, in any dtype; or of the C++ library.
        texts: Ids in ``[0, V)``.
        stride: Tokens the window slides by in a long text, in ``[1, n_positions]``; default:
            ``n_positions // 2``. With 1 every token has the longest context that fits.
        advance: Told after each batch how many tokens it has scored.

    Returns:
        One `Score` a text, in order.

    Raises:
        ConfigError: If the stride is out of range.
        DataError: If an id is outside the vocabulary.
    """
    check_ids("text", texts, model.config.vocab_size)
    limit = model.config.n_positions
    stride = checked_stride(stride, limit)
    todo = [w for number, ids in enumerate(texts) for w in windows(number, len(ids), limit, stride)]
    ends = np.cumsum([len(ids) for ids in texts], dtype=np.int64)
    log_probs = np.full(ends[-1] if texts else 0, -np.inf)  # of all texts, one after the other
    rows = np.split(log_probs, ends[:-1])
    size = processes.fair_size(sum(window.size for window in todo), BATCH_TOKENS)
    for number, batch in enumerate(_batches(todo, size)):
        if processes.is_mine(number):
            values = iter(_log_probs_of_batch(model, texts, batch))
            for w in batch:
                rows[w.text][w.first : w.end] = list(islice(values, w.end - w.first))
        if advance:
            advance(sum(w.end - w.first for w in batch))
    rows = np.split(processes.joined(log_probs), ends[:-1])
    return [
        Score(list(ids), [None, *row[1:].tolist()] if ids else [])
        for ids, row in zip(texts, rows, strict=False)
    ]


def _batches(todo: list[Window], tokens: int) -> Iterator[list[Window]]:
    """Windows by length, together so many tokens at most, padding included."""
    batch: list[Window] = []
    for window in sorted(todo, key=lambda window: window.size):
        if batch and (len(batch) + 1) * window.size > tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


@torch.inference_mode()
def _log_probs_of_batch(
    model: Backbone | NativeModel, texts: Sequence[Sequence[int]], batch: list[Window]
) -> list[float]:
    """Log-probabilities of the scored tokens of the windows, one window after the other."""
    if isinstance(model, NativeModel):
        found = model.log_probs([texts[w.text][w.start : w.end] for w in batch])
        return [
            value
            for window, row in zip(batch, found, strict=True)
            for value in row[window.first - 1 - window.start :].tolist()
        ]
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


def perplexity(
    model: Backbone | NativeModel,
    texts: Iterable[tuple[str, Sequence[int]]],
    *,
    names: Iterable[str | None] = repeat(None),
    stride: int | None = None,
    documents: Callable[[Document], object] | None = None,
    advance: Callable[[int], object] | None = None,
    seed: int = 0,
) -> Perplexity:
    """Mean loss of a model over texts.

    Args:
        model: Of torch, on any device, in any dtype; or of the C++ library.
        texts: Each text and its token ids; read as they are needed.
        names: Where each text is from; read along with them.
        stride: As for `score_ids`.
        documents: Given the figures of each text, in order, as soon as they are known.
        advance: As for `score_ids`.
        seed: Of the resampling that gives the interval.

    Returns:
        A `Perplexity`; texts with fewer than two tokens count for nothing.

    Raises:
        ConfigError: If the stride is out of range.
        DataError: If no text has two tokens.
    """
    stride = checked_stride(stride, model.config.n_positions)
    figures = array("d")  # four a text that counts: thus bounded memory for any number of texts
    for document in _documents(model, texts, iter(names), stride, advance):
        if documents:
            documents(document)
        if document.tokens:
            sizes = (document.tokens, document.characters, document.utf8_bytes)
            figures.extend((document.nats, *sizes))
    if not figures:
        raise DataError(
            "there is nothing to score: no text has two or more tokens, and a text's first token "
            "has nothing before it to be predicted from; check the data or the column"
        )
    return _summary(np.array(figures).reshape(-1, 4), stride, seed)


def _documents(
    model: Backbone | NativeModel,
    texts: Iterable[tuple[str, Sequence[int]]],
    names: Iterator[str | None],
    stride: int,
    advance: Callable[[int], object] | None,
) -> Iterator[Document]:
    """The figures of each text, in order."""
    stream, number = iter(texts), 0
    while group := list(islice(stream, TEXTS_AT_ONCE * processes.world())):
        scores = score_ids(model, [ids for _, ids in group], stride=stride, advance=advance)
        for (text, _), score in zip(group, scores, strict=True):
            yield _document(number, next(names, None), text, score)
            number += 1


def _document(number: int, name: str | None, text: str, score: Score) -> Document:
    nats, tokens = -score.sum, score.num_tokens
    size = len(text.encode(errors="surrogatepass"))
    bits = nats / math.log(2)
    scored = tokens > 0
    return Document(
        number=number,
        name=name,
        tokens=tokens,
        nats=nats,
        characters=len(text),
        utf8_bytes=size,
        nats_per_token=nats / tokens if scored else None,
        bits_per_character=bits / len(text) if scored else None,
        bits_per_byte=bits / size if scored else None,
    )


def _summary(figures: NDArray[np.float64], stride: int, seed: int) -> Perplexity:
    """What ``(N, 4)`` figures amount to: nats, tokens, characters and bytes of each text."""
    sums = figures.sum(axis=0)
    nats_per_token, bits_per_character, bits_per_byte = map(float, _rates(sums))
    _, tokens, characters, utf8_bytes = map(int, sums)
    return Perplexity(
        nats_per_token=nats_per_token,
        perplexity=_exp(nats_per_token),
        bits_per_character=bits_per_character,
        bits_per_byte=bits_per_byte,
        tokens=tokens,
        characters=characters,
        utf8_bytes=utf8_bytes,
        texts=len(figures),
        stride=stride,
        interval=_interval(figures, seed) if len(figures) > 1 else None,
    )


def _interval(figures: NDArray[np.float64], seed: int) -> Interval:
    by_token, by_character, by_byte = map(interval, _rates(resampled_sums(figures, seed)))
    return Interval(by_token, (_exp(by_token[0]), _exp(by_token[1])), by_character, by_byte)


def _rates(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Nats per token, bits per character and bits per byte of sums ``(..., 4)``."""
    nats, tokens, characters, utf8_bytes = np.moveaxis(sums, -1, 0)
    bits = nats / math.log(2)
    return nats / tokens, bits / characters, bits / utf8_bytes


def _exp(nats: float) -> float:
    return math.inf if nats > 700 else math.exp(nats)
