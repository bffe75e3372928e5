"""The decoding loop: prompts in, one new token a step for each, over a key-value cache.

Streaming and batch generation are this one loop. Rows are independent: prompts of different length
share a right-padded first pass, a finished row leaves the batch, and what a row yields does not
depend on the others.

A context longer than ``n_positions`` slides: when the cache is full, the last ``n_positions // 2``
tokens are read again as a fresh context, from position 0, and generation goes on. Per
``n_positions // 2`` new tokens that costs one pass over as many, which is small beside the steps.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.generation import sampling
from gpt1.model import GPT, KVCache

logger = logging.getLogger(__name__)


@contextmanager
def evaluation_mode(model: GPT) -> Iterator[None]:
    """Switch dropout off inside the block, and back on after it if it was on."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


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

    Attributes:
        running: Numbers of the sequences that are not finished.

    Raises:
        DataError: If a prompt has no tokens or an id outside the vocabulary.
        ConfigError: If a stop id is outside the vocabulary.
    """

    def __init__(
        self,
        model: GPT,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
    ) -> None:
        _check_not_empty(prompts)
        check_ids("prompt", prompts, model.config.vocab_size)
        _check_stop_ids(config.stop_ids, model.config.vocab_size)
        self.running = list(range(len(prompts) * config.n))
        self._model, self._config = model, config
        self._prompts = [list(prompt[-model.config.n_positions :]) for prompt in prompts]
        self._contexts = [list(prompt) for prompt in self._prompts for _ in range(config.n)]
        self._random = [
            sampling.random_source(config.seed, prompt, i)
            for prompt in prompts
            for i in range(config.n)
        ]
        self._stop_ids = {*stop_ids, *config.stop_ids}
        self._suppress = torch.tensor(sorted(suppress), dtype=torch.long, device=model.device)
        self._rows = self.running.copy()  # the sequence in each row of the cache
        self._steps = 0
        self._log_truncation(prompts)

    def _log_truncation(self, prompts: Sequence[Sequence[int]]) -> None:
        limit = self._model.config.n_positions
        if too_long := sum(len(prompt) > limit for prompt in prompts):
            logger.warning(
                "%d of %d prompts are longer than the model's %d positions; "
                "only the last %d tokens of each are seen",
                *(too_long, len(prompts), limit, limit),
            )

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
        """
        with evaluation_mode(self._model):
            logits = self._read_prompts() if self._steps == 0 else self._read_newest()
        new = list(zip(self._rows, self._choose(logits), strict=True))
        for sequence, token in new:
            self._contexts[sequence].append(token)
        self._steps += 1
        new = [(sequence, token) for sequence, token in new if token not in self._stop_ids]
        done = self._steps == self._config.max_new_tokens
        self.running = [] if done else [sequence for sequence, _ in new]
        return new

    def _read_prompts(self) -> Tensor:
        """Read every prompt once, whatever n; logits ``(B * n, V)``."""
        lengths = torch.tensor([len(prompt) for prompt in self._prompts], device=self._model.device)
        longest = int(lengths.max())
        padded = [prompt + [0] * (longest - len(prompt)) for prompt in self._prompts]
        capacity = min(longest + self._config.max_new_tokens, self._model.config.n_positions)
        self._cache = self._model.new_cache(len(padded), capacity)
        logits = self._forward(padded, self._cache, lengths - 1)
        self._cache.advance(lengths)
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
        if self._cache.longest == self._model.config.n_positions:
            self._slide()
        newest = [self._contexts[sequence][-1:] for sequence in self._rows]
        logits = self._forward(newest, self._cache)
        self._cache.advance(1)
        return logits

    def _slide(self) -> None:
        """Refill each full row of the cache with the last half of its context."""
        is_full = self._cache.lengths == self._cache.longest
        rows = is_full.nonzero()[:, 0]
        # The newest token is not part of it: the coming step reads that.
        kept = max(1, self._model.config.n_positions // 2) - 1
        if kept:
            contexts = [self._contexts[self._rows[row]][-kept - 1 : -1] for row in rows.tolist()]
            half = self._model.new_cache(len(contexts), kept)
            self._forward(contexts, half)
            self._cache.data[:, :, rows, :, :kept] = half.data
        self._cache.lengths[rows] = kept
        self._cache.advance(0)

    def _forward(self, ids: list[list[int]], cache: KVCache, at: Tensor | None = None) -> Tensor:
        """Logits ``(B, V)`` behind each row of ``ids`` ``(B, T)``, or at a position of each."""
        input_ids = torch.tensor(ids, device=self._model.device)
        if at is None:
            at = torch.full((len(ids),), len(ids[0]) - 1, device=self._model.device)
        logits = self._model(input_ids, cache=cache, logits_at=at).logits
        return logits[:, 0]  # type: ignore[no-any-return]

    def _choose(self, logits: Tensor) -> list[int]:
        """The next token of each row of logits ``(B, V)``."""
        logits = logits.float().index_fill_(1, self._suppress, -sampling.INFINITY)
        best = logits.max(-1)
        if not math.isfinite(best.values.sum()):
            raise CheckpointError(
                "the model's scores are not finite numbers, so no token can be chosen; the weights "
                "are damaged, or their training diverged: use an earlier checkpoint"
            )
        if not self._config.samples:
            tokens: list[int] = best.indices.tolist()
            return tokens
        uniforms = [self._random[sequence].random() for sequence in self._rows]
        return sampling.draw(sampling.filtered(logits.cpu().double(), self._config), uniforms)


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


def _check_stop_ids(stop_ids: Collection[int], vocab_size: int) -> None:
    wrong = [token for token in stop_ids if not 0 <= token < vocab_size]
    if wrong:
        raise ConfigError(
            f"stop_ids holds {wrong[0]} but the model has {vocab_size} tokens, numbered from 0"
        )
