"""The decoding loop: prompts in, one new token a step for each, over a key-value cache.

Streaming and batch generation are this one loop. Rows are independent: prompts of different length
share a right-padded first pass, a finished row leaves the batch, and what a row yields does not
depend on the others.

A context longer than ``n_positions`` slides: see `gpt1.generation.reading`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.errors import DataError
from gpt1.generation import processors, sampling
from gpt1.generation.bad_words import BadWords
from gpt1.generation.processors import Array
from gpt1.generation.readers import Network, open_reader, to_numpy
from gpt1.generation.scores import Scores, check_choice

logger = logging.getLogger(__name__)


class TokenScore(NamedTuple):
    """What the model itself thought of a token, before any setting changed its scores.

    Attributes:
        log_prob: Of the token, in nats.
        top: Ids and log-probabilities of the likeliest tokens, the likeliest first.
    """

    log_prob: float
    top: list[tuple[int, float]]


class Decoder:
    """Continues prompts token by token; iterate over it, or call `step`.

    Sequences are numbered prompt by prompt: continuation i of prompt j is ``j * config.n + i``.

    Args:
        model: A `GPT` on any device and in any dtype, or a `NativeModel`.
        prompts: Token ids, at least one a prompt. Of a prompt longer than ``n_positions`` the model
            sees the last ``n_positions`` tokens.
        config: How to choose tokens. `stop` is text and therefore the caller's: see `end`.
        stop_ids: Ids that end a sequence, beside ``config.stop_ids``; they are not yielded.
        suppress: Ids never to generate.
        bad_words: What `config.bad_words` forbids, for the tokenizer of the model.

    Attributes:
        running: Numbers of the sequences that are not finished.
        scores: Of the newest token of each sequence; empty unless ``config.logprobs`` is set.

    Raises:
        DataError: If a prompt has no tokens or an id outside the vocabulary.
        ConfigError: If a setting names an id outside the vocabulary.
    """

    def __init__(
        self,
        model: Network,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        check_prompts(prompts, model)
        self._reader = open_reader(model)
        self.running = list(range(len(prompts) * config.n))
        self._config = config
        self._prompts = [list(prompt) for prompt in prompts]
        self._contexts = [list(prompt) for prompt in self._prompts for _ in range(config.n)]
        self._random = [
            sampling.random_source(config.seed, prompt, i)
            for prompt in prompts
            for i in range(config.n)
        ]
        self._scores = Scores(
            model.config.vocab_size,
            config,
            stop_ids=stop_ids,
            suppress=suppress,
            bad_words=bad_words,
        )
        self.scores: dict[int, TokenScore] = {}
        self._held = self.running.copy()  # the sequence in each row of the cache
        self._rows = self._held  # the sequence of each row of the newest logits
        self._steps = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the result of each `step` until no sequence is running."""
        while self.running:
            yield self.step()

    def end(self, sequence: int) -> None:
        """Finish a sequence early, for example because its text holds a stop string."""
        self.running = [other for other in self.running if other != sequence]

    def step(self) -> list[tuple[int, int]]:
        """Add one token to every running sequence.

        Returns:
            ``(sequence, id)`` of each sequence that got a token; one that met a stop id is not
            among them, nor among `running` any more.

        Raises:
            CheckpointError: If the model's scores are not numbers.
            ConfigError: If the settings forbid every token.
        """
        with self._reader.session():
            tokens = self._next()
        new = list(zip(self._rows, tokens, strict=True))
        for sequence, token in new:
            self._contexts[sequence].append(token)
        self._steps += 1
        ended = {sequence for sequence, token in new if token in self._scores.stop_ids}
        full = {sequence for sequence, _ in new if self._left(sequence) == 0}
        self.running = [number for number in self.running if number not in ended | full]
        return [(sequence, token) for sequence, token in new if sequence not in ended]

    def _left(self, sequence: int) -> int:
        """How many tokens a sequence may still get."""
        prompt = self._prompts[sequence // self._config.n]
        return self._config.max_new_tokens + len(prompt) - len(self._contexts[sequence])

    def _next(self) -> list[int]:
        """The next token of each running sequence, which then are those in `_rows`."""
        return self._choose(self._read_prompts() if self._steps == 0 else self._read_newest())

    def _read_prompts(self) -> Array:
        """Read every prompt once, whatever n; logits ``(B * n, V)``."""
        config = self._config
        return self._reader.read_prompts(self._prompts, config.max_new_tokens, config.n)

    def _read_newest(self) -> Array:
        """Read the newest token of every running sequence; logits ``(B, V)``."""
        self._hold_running()
        self._rows = self._held
        return self._reader.read_newest([self._contexts[number] for number in self._held])

    def _hold_running(self) -> None:
        """Keep the rows of running sequences only."""
        if len(self._held) != len(self.running):
            running = set(self.running)
            self._reader.keep([i for i, number in enumerate(self._held) if number in running])
            self._held = self.running.copy()

    def _score(self, logits: Array) -> Array:
        """What the settings of the text so far make of logits ``(B, V)``."""
        contexts = [self._contexts[sequence] for sequence in self._rows]
        lengths = [len(self._prompts[sequence // self._config.n]) for sequence in self._rows]
        return self._scores(logits, contexts, lengths)

    def _choose(self, logits: Array) -> list[int]:
        """The next token of each row of logits ``(B, V)``."""
        own = self._own(logits)
        randoms = [self._random[sequence] for sequence in self._rows]
        tokens = pick(self._score(logits), self._config, randoms)
        self._note(own, tokens)
        return tokens

    def _own(self, logits: Array) -> NDArray[np.float64] | None:
        """What the model itself thinks of all tokens, if it is asked for."""
        if self._config.logprobs is None:
            return None
        own: NDArray[np.float64] = processors.log_softmax(to_numpy(logits).astype(np.float64))
        return own

    def _note(self, own: NDArray[np.float64] | None, tokens: list[int]) -> None:
        """Remember what the model itself thought of the chosen token of each row."""
        if own is not None:
            found = token_scores(own, tokens, self._config.logprobs or 0)
            self.scores = dict(zip(self._rows, found, strict=True))


def pick(scores: Array, config: GenerationConfig, randoms: Sequence[Random]) -> list[int]:
    """Choose the next token of each row.

    Args:
        scores: ``(B, V)``, see `gpt1.generation.scores.Scores`.
        config: How to choose.
        randoms: Of each row; a sample takes one number.

    Returns:
        B token ids.

    Raises:
        ConfigError: If a row forbids every token.
    """
    xp = processors.namespace(scores)
    check_choice(xp.max(scores, axis=-1).tolist())
    if config.samples:
        return sampling.sample(to_numpy(scores), config, [random.random() for random in randoms])
    tokens: list[int] = xp.argmax(scores, axis=-1).tolist()
    return tokens


class _Replay(Decoder):
    """Generates given ids."""

    def __init__(
        self, model: Network, prompt: Sequence[int], ids: Sequence[int], count: int
    ) -> None:
        config = GenerationConfig(max_new_tokens=len(ids), logprobs=count)
        super().__init__(model, [prompt], config)
        self._ids = iter(ids)

    def _choose(self, logits: Array) -> list[int]:
        token = next(self._ids)
        self._note(self._own(logits), [token])
        return [token]


def replay(
    model: Network, prompt: Sequence[int], ids: Sequence[int], count: int
) -> list[TokenScore]:
    """Score a continuation that was found in another way, as `Decoder` would have on its way.

    Args:
        model: As for `Decoder`.
        prompt: Token ids, at least one.
        ids: Of the continuation.
        count: How many of the likeliest tokens to tell in each place.

    Returns:
        The score of each id.
    """
    if not ids:
        return []
    decoder = _Replay(model, prompt, ids, count)
    return [decoder.scores[0] for _ in decoder]


def token_scores(
    log_probs: NDArray[np.float64], tokens: Sequence[int], count: int
) -> list[TokenScore]:
    """The score of the token of each row.

    Args:
        log_probs: ``(B, V)``, in nats.
        tokens: One a row.
        count: How many of the likeliest tokens to tell.
    """
    found = []
    for row, token in zip(log_probs, tokens, strict=True):
        likeliest = processors.likeliest(row, count)
        top = list(zip(likeliest.tolist(), row[likeliest].tolist(), strict=True))
        found.append(TokenScore(float(row[token]), top))
    return found


def check_prompts(prompts: Sequence[Sequence[int]], model: Network) -> None:
    """Refuse prompts the model cannot continue; log a warning if it will not see all of them.

    Args:
        prompts: Token ids.
        model: Sees the last ``n_positions`` tokens of each.

    Raises:
        DataError: If a prompt has no tokens or an id outside the vocabulary.
    """
    _check_not_empty(prompts)
    check_ids("prompt", prompts, model.config.vocab_size)
    limit = model.config.n_positions
    if too_long := sum(len(prompt) > limit for prompt in prompts):
        logger.warning(
            "%d of %d prompts are longer than the model's %d positions; "
            "only the last %d tokens of each are seen",
            *(too_long, len(prompts), limit, limit),
        )


def check_ids(name: str, rows: Sequence[Sequence[int]], vocab_size: int) -> None:
    """Refuse token ids the model has no row for.

    Args:
        name: What a row is, for the message.
        rows: Token ids.
        vocab_size: Of the model.

    Raises:
        DataError: If an id is not in ``[0, vocab_size)``.
    """
    for number, ids in enumerate(rows):
        wrong = [token for token in ids if not 0 <= token < vocab_size]
        if wrong:
            raise DataError(
                f"{name} {number} holds the id {wrong[0]} but the model has {vocab_size} tokens, "
                "numbered from 0; use the tokenizer that belongs to the model"
            )


def _check_not_empty(prompts: Sequence[Sequence[int]]) -> None:
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise DataError(
                f"prompt {number} has no tokens; the model continues text and needs at least one"
            )
