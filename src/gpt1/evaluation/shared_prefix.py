"""Log-probabilities of continuations; what several sequences have in common is computed once.

Sequences that begin alike share a row as a tree of tokens: each token sees its ancestors alone and
has the position it has in its own sequence. So four answers to one question cost one reading of the
question. A model without attention masks (a recurrent one) reads each sequence in a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, takewhile
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gpt1.backbone import HasModes, evaluation_mode
from gpt1.errors import DataError
from gpt1.evaluation import processes
from gpt1.evaluation.scoring import BATCH_TOKENS
from gpt1.generation.decode import check_ids
from gpt1.model import GPT, token_scores

PROMPTS_AT_ONCE = 1024
"""Prompts that are ordered by length together, to bound memory."""

LogProbs: TypeAlias = NDArray[np.float32]
"""Log-probability of each token of a continuation, in nats."""

Advance: TypeAlias = Callable[[int, int], None]
"""Called with the number of tokens read so far and of all; shared ones count as often as used."""


class ContinuationScore(NamedTuple):
    """What a model makes of a continuation.

    Attributes:
        log_probs: Of each of its tokens.
        likeliest: ``(its tokens,)`` bool: whether no other token is likelier in its place.
    """

    log_probs: LogProbs
    likeliest: NDArray[np.bool_]


class TokenModel(HasModes, Protocol):
    """What is asked of a model: states that the token table turns into logits."""

    config: Any
    tokens_embed: nn.Embedding

    def hidden(self, input_ids: Tensor) -> Tensor:
        """``(B, T)`` ids to ``(B, T, D)`` states."""


def continuation_log_probs(
    model: TokenModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    *,
    advance: Advance | None = None,
) -> list[list[LogProbs]]:
    """The log-probabilities alone of `continuation_scores`, which see."""
    scores = continuation_scores(model, prompts, continuations, advance=advance)
    return [[score.log_probs for score in candidates] for candidates in scores]


def continuation_scores(
    model: TokenModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    *,
    advance: Advance | None = None,
) -> list[list[ContinuationScore]]:
    """Score every candidate continuation of every prompt, token by token.

    Args:
        model: A `GPT`, or anything with ``hidden``, ``tokens_embed.weight``, ``config.vocab_size``
            and ``config.n_positions`` (None: no limit).
        prompts: Ids, at least one each: nothing predicts a first token. One that is too long loses
            its beginning, see `cut_prompts`.
        continuations: For each prompt its candidates.
        advance: Told about progress.

    Returns:
        For each prompt, for each candidate, its score; the log-probabilities are those of
        `score_ids` on the plain concatenation.

    Raises:
        DataError: If a prompt is empty, a candidate is longer than the model can read, an id is
            outside the vocabulary, or the two lists differ in length.
    """
    if len(prompts) != len(continuations):
        raise DataError(
            f"there are {len(prompts)} prompts but candidates for {len(continuations)}; "
            "give each prompt a list of candidates"
        )
    prompts, _ = cut_prompts(prompts, continuations, model.config.n_positions)
    sizes = [len(candidate) for candidates in continuations for candidate in candidates]
    figures = np.full((2, sum(sizes)), -np.inf)  # of all continuations, one after the other
    ends = np.cumsum(sizes, dtype=np.int64)
    total = _tokens_to_read(prompts, continuations)
    done = 0
    for turn, batch in enumerate(_all_batches(model, prompts, continuations)):
        if processes.is_mine(turn):
            for sequence, score in _scored(model, batch):
                end = ends[sequence.number]
                figures[:, end - len(score.log_probs) : end] = score
        done += sum(len(sequence.ids) - 1 for row in batch for sequence in row.sequences)
        if advance is not None:
            advance(done, total)
    parts = iter(np.split(processes.joined(figures), ends, axis=1))
    return [[_score(next(parts)) for _ in candidates] for candidates in continuations]


def _score(figures: NDArray[np.float64]) -> ContinuationScore:
    """The score of one continuation, as it was before it was written down as ``(2, T)``."""
    return ContinuationScore(figures[0].astype(np.float32), figures[1] == 1)


def _all_batches(
    model: TokenModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
) -> Iterator[list[_Row]]:
    """All sequences to read, in batches."""
    numbers = count()
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        group = slice(start, start + PROMPTS_AT_ONCE)
        sequences = [
            _Sequence(number, [*prompt, *candidate], len(prompt))
            for prompt, candidates in zip(prompts[group], continuations[group], strict=True)
            for candidate, number in zip(candidates, numbers, strict=False)
            if candidate
        ]
        check_ids("sequence", [s.ids for s in sequences], model.config.vocab_size)
        yield from _batches(_rows(sequences, model))


def cut_prompts(
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    n_positions: int | None,
) -> tuple[list[Sequence[int]], int]:
    """Shorten prompts from the left until each fits together with its longest candidate.

    The last token of a candidate is predicted but not read, so together they may have one token
    more than the model has positions.

    Args:
        prompts: Ids, at least one each.
        continuations: For each prompt its candidates; they are never cut.
        n_positions: Tokens the model can read; None: any number.

    Returns:
        The prompts, and how many of them were cut.

    Raises:
        DataError: If a prompt is empty, or a candidate alone is too long.
    """
    cut = []
    for number, (prompt, candidates) in enumerate(zip(prompts, continuations, strict=True)):
        if not prompt:
            raise DataError(
                f"prompt {number} has no tokens, so nothing predicts the first token of its "
                "continuations; give at least one token of context"
            )
        longest = max(map(len, candidates), default=0)
        if n_positions is not None and longest > n_positions:
            raise DataError(
                f"a continuation of prompt {number} has {longest} tokens but the model reads at "
                f"most {n_positions}; shorten it"
            )
        room = len(prompt) if n_positions is None else n_positions + 1 - longest
        cut.append(prompt[-room:])
    return cut, sum(len(a) < len(b) for a, b in zip(cut, prompts, strict=True))


class _Sequence(NamedTuple):
    """A prompt with one candidate behind it; its tokens from ``first`` on are scored."""

    number: int
    ids: list[int]
    first: int

    @property
    def read(self) -> list[int]:
        """The last token is predicted but not read."""
        return self.ids[:-1]


class _Row:
    """Sequences as one tree of tokens, in an order in which parents precede their children."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.chains: list[tuple[int, int]] = []  # first node, and its parent or -1
        self.sequences: list[_Sequence] = []
        self.predictors: list[list[int]] = []  # for each sequence, the nodes that predict
        self._read: list[int] = []
        self._path: list[int] = []

    def common(self, read: list[int]) -> int:
        """Number of tokens a sequence has in common with the one added last."""
        same = takewhile(lambda pair: pair[0] == pair[1], zip(read, self._read, strict=False))
        return sum(1 for _ in same)

    def add(self, sequence: _Sequence) -> None:
        """Add one; of all sequences here, the one before must have most in common with it."""
        read = sequence.read
        shared = self.common(read)
        if shared < len(read):
            self.chains.append((len(self.ids), self._path[shared - 1] if shared else -1))
        path = self._path[:shared] + [len(self.ids) + i for i in range(len(read) - shared)]
        self.ids += read[shared:]
        self.positions += range(shared, len(read))
        self._read, self._path = read, path
        self.sequences.append(sequence)
        self.predictors.append(path[sequence.first - 1 :])

    @property
    def branches(self) -> bool:
        """Whether any token has more to ignore than what comes after it."""
        return any(parent != first - 1 for first, parent in self.chains)

    def visible(self, size: int) -> NDArray[np.bool_]:
        """``(size, size)``, True where a token may see another; padding sees itself."""
        sees = np.eye(size, dtype=bool)
        ends = [first for first, _ in self.chains[1:]] + [len(self.ids)]
        for (first, parent), end in zip(self.chains, ends, strict=True):
            if parent >= 0:
                sees[first:end] = sees[parent]
            sees[first:end, first:end] = np.tri(end - first, dtype=bool)
        return sees


def _tokens_to_read(
    prompts: Sequence[Sequence[int]], continuations: Sequence[Sequence[Sequence[int]]]
) -> int:
    return sum(
        len(prompt) + len(candidate) - 1
        for prompt, candidates in zip(prompts, continuations, strict=True)
        for candidate in candidates
        if candidate
    )


def _rows(sequences: Iterable[_Sequence], model: TokenModel) -> list[_Row]:
    """Sequences that begin alike in one row, as far as the model can tell branches apart."""
    rows: list[_Row] = []
    for sequence in sorted(sequences, key=lambda sequence: sequence.ids):
        if not rows or not _fits(rows[-1], sequence.read, model):
            rows.append(_Row())
        rows[-1].add(sequence)
    return rows


def _fits(row: _Row, read: list[int], model: TokenModel) -> bool:
    """Whether the row saves at least half of the reading, and does not grow without bound."""
    shared = row.common(read)
    if not isinstance(model, GPT):
        return shared == len(read) and shared == len(row.ids)
    size = len(row.ids) + len(read) - shared
    return 2 * shared >= len(read) and size <= 2 * model.config.n_positions


def _batches(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Rows of similar length, the longest first, trees apart from plain ones."""
    batch: list[_Row] = []
    for row in sorted(rows, key=lambda row: (row.branches, len(row.ids)), reverse=True):
        full = batch and (len(batch) + 1) * len(batch[0].ids) > BATCH_TOKENS
        if full or (batch and batch[0].branches != row.branches):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def _scored(model: TokenModel, batch: list[_Row]) -> Iterator[tuple[_Sequence, ContinuationScore]]:
    """Every sequence of the rows and the score of its continuation."""
    states = _states(model, batch)
    predictors = [
        states[number, path] for number, row in enumerate(batch) for path in row.predictors
    ]
    sequences = [sequence for row in batch for sequence in row.sequences]
    targets = [token for sequence in sequences for token in sequence.ids[sequence.first :]]
    table = model.tokens_embed.weight
    scores = token_scores(torch.cat(predictors), table, torch.tensor(targets, device=table.device))
    ends = np.cumsum([len(p) for p in predictors])[:-1]
    log_probs, likeliest = (np.split(values.cpu().numpy(), ends) for values in scores)
    return zip(sequences, map(ContinuationScore, log_probs, likeliest), strict=True)


def _states(model: TokenModel, batch: list[_Row]) -> Tensor:
    """Output of the last block, ``(B, T, D)``, for rows padded on the right to ``T``."""
    size = len(batch[0].ids)
    device = model.tokens_embed.weight.device
    ids = _padded([row.ids for row in batch], size).to(device)
    with evaluation_mode(model):
        if not isinstance(model, GPT) or not batch[0].branches:
            return model.hidden(ids)
        positions = _padded([row.positions for row in batch], size).to(device)
        mask = torch.from_numpy(np.stack([row.visible(size) for row in batch]))[:, None]
        return model.hidden(ids, positions=positions, mask=mask.to(device))


def _padded(rows: list[list[int]], size: int) -> Tensor:
    return torch.tensor([row + [0] * (size - len(row)) for row in rows])
