"""The decoding loop: prompts in, one new token a step for each, over a key-value cache.

Streaming and batch generation are this one loop. Rows are independent: prompts of different length
share a right-padded first pass, a finished row leaves the batch, and what a row yields does not
depend on the others.

A context longer than ``n_positions`` slides: see `gpt1.generation.reading`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gpt1.config import GenerationConfig
from gpt1.errors import DataError
from gpt1.generation import processors, sampling
from gpt1.generation.bad_words import BadWords
from gpt1.generation.reading import read_newest, read_prompts, slide
from gpt1.generation.scores import Scores, check_choice
from gpt1.model import GPT

logger = logging.getLogger(__name__)


class HasModes(Protocol):
    """A torch module, as far as `evaluation_mode` is concerned."""

    training: bool

    def eval(self) -> Any:
        """Switch dropout off."""

    def train(self) -> Any:
        """Switch dropout on."""


@contextmanager
def evaluation_mode(model: HasModes) -> Iterator[None]:
    """Switch dropout off inside the block, and back on after it if it was on."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


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
        model: Any device, any dtype.
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
        model: GPT,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        check_prompts(prompts, model)
        self.running = list(range(len(prompts) * config.n))
        self._model, self._config = model, config
        self._prompts = [list(prompt) for prompt in prompts]
        self._contexts = [list(prompt) for prompt in self._prompts for _ in range(config.n)]
        self._random = [
            sampling.random_source(config.seed, prompt, i)
            for prompt in prompts
            for i in range(config.n)
        ]
        self._scores = Scores(
            model, config, stop_ids=stop_ids, suppress=suppress, bad_words=bad_words
        )
        self.scores: dict[int, TokenScore] = {}
        self._rows = self.running.copy()  # the sequence in each row of the cache
        self._steps = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the result of each `step` until no sequence is running."""
        while self.running:
            yield self.step()

    def end(self, sequence: int) -> None:
        """Finish a sequence early, for example because its text holds a stop string."""
        self.running = [other for other in self.running if other != sequence]

    @torch.inference_mode()
    def step(self) -> list[tuple[int, int]]:
        """Add one token to every running sequence.

        Returns:
            ``(sequence, id)`` of each sequence that got a token; one that met a stop id is not
            among them, nor among `running` any more.

        Raises:
            CheckpointError: If the model's scores are not numbers.
            ConfigError: If the settings forbid every token.
        """
        with evaluation_mode(self._model):
            tokens = self._next()
        new = list(zip(self._rows, tokens, strict=True))
        for sequence, token in new:
            self._contexts[sequence].append(token)
        self._steps += 1
        new = [(sequence, token) for sequence, token in new if token not in self._scores.stop_ids]
        done = self._steps == self._config.max_new_tokens
        self.running = [] if done else [sequence for sequence, _ in new]
        return new

    def _next(self) -> list[int]:
        """The next token of each running sequence, which then are those in `_rows`."""
        return self._choose(self._read_prompts() if self._steps == 0 else self._read_newest())

    def _read_prompts(self) -> Tensor:
        """Read every prompt once, whatever n; logits ``(B * n, V)``."""
        read, self._cache = read_prompts(self._model, self._prompts, self._config.max_new_tokens)
        logits = read.logits
        if self._config.n == 1:
            return logits
        self._cache.select(torch.tensor(self._rows, device=logits.device) // self._config.n)
        return logits.repeat_interleave(self._config.n, dim=0)

    def _read_newest(self) -> Tensor:
        """Read the newest token of every running sequence; logits ``(B, V)``."""
        if len(self._rows) != len(self.running):
            running = set(self.running)
            kept = [row for row, sequence in enumerate(self._rows) if sequence in running]
            self._cache.select(torch.tensor(kept, device=self._model.device))
            self._rows = self.running.copy()
        contexts = [self._contexts[sequence] for sequence in self._rows]
        slide(self._model, self._cache, contexts)
        return read_newest(self._model, self._cache, contexts).logits

    def _score(self, logits: Tensor) -> Tensor:
        """What the settings of the text so far make of logits ``(B, V)``."""
        contexts = [self._contexts[sequence] for sequence in self._rows]
        lengths = [len(self._prompts[sequence // self._config.n]) for sequence in self._rows]
        return self._scores(logits, contexts, lengths)

    def _choose(self, logits: Tensor) -> list[int]:
        """The next token of each row of logits ``(B, V)``."""
        own = self._own(logits)
        scores = self._score(logits)
        best = scores.max(-1)
        check_choice(best.values.tolist())
        tokens: list[int] = best.indices.tolist()
        if self._config.samples:
            uniforms = [self._random[sequence].random() for sequence in self._rows]
            kept = processors.filtered(scores.double().cpu().numpy(), self._config)
            tokens = sampling.draw(kept, uniforms)
        self._note(own, tokens)
        return tokens

    def _own(self, logits: Tensor) -> Tensor | None:
        """What the model itself thinks of all tokens, if it is asked for; before `_score`."""
        return None if self._config.logprobs is None else logits.float().log_softmax(-1)

    def _note(self, own: Tensor | None, tokens: list[int]) -> None:
        """Remember what the model itself thought of the chosen token of each row."""
        if own is not None:
            found = _token_scores(own, tokens, self._config.logprobs or 0)
            self.scores = dict(zip(self._rows, found, strict=True))


class _Replay(Decoder):
    """Generates given ids."""

    def __init__(self, model: GPT, prompt: Sequence[int], ids: Sequence[int], count: int) -> None:
        config = GenerationConfig(max_new_tokens=len(ids), logprobs=count)
        super().__init__(model, [prompt], config)
        self._ids = iter(ids)

    def _choose(self, logits: Tensor) -> list[int]:
        token = next(self._ids)
        self._note(self._own(logits), [token])
        return [token]


def replay(model: GPT, prompt: Sequence[int], ids: Sequence[int], count: int) -> list[TokenScore]:
    """Score a continuation that was found in another way, as `Decoder` would have on its way.

    Args:
        model: Any device, any dtype.
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


def _token_scores(log_probs: Tensor, tokens: Sequence[int], count: int) -> list[TokenScore]:
    """The score of the token of each row of log-probabilities ``(B, V)``."""
    chosen = log_probs[range(len(tokens)), tokens].tolist()
    top = log_probs.topk(min(count, log_probs.shape[-1]))
    return [
        TokenScore(log_prob, list(zip(ids, values, strict=True)))
        for log_prob, ids, values in zip(
            chosen, top.indices.tolist(), top.values.tolist(), strict=True
        )
    ]


def check_prompts(prompts: Sequence[Sequence[int]], model: GPT) -> None:
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
