"""From the model's logits to the scores tokens are chosen by, in every way of generating."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.generation.bad_words import BadWords
from gpt1.generation.processors import Processors
from gpt1.model import GPT

INFINITY = float("inf")


class Scores:
    """What the logits of a model become under a config, before anything is sampled.

    Args:
        model: Whose logits they are.
        config: Its settings of the text so far are applied.
        stop_ids: Ids that end a text, beside ``config.stop_ids``.
        suppress: Ids never to generate.
        bad_words: What `config.bad_words` forbids, for the tokenizer of the model.

    Attributes:
        stop_ids: All ids that end a text.

    Raises:
        ConfigError: If a setting names an id outside the vocabulary.
    """

    def __init__(
        self,
        model: GPT,
        config: GenerationConfig,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        vocab_size = model.config.vocab_size
        _check_stop_ids(config.stop_ids, vocab_size)
        self.stop_ids = frozenset((*stop_ids, *config.stop_ids))
        self._suppress = torch.tensor(sorted(suppress), dtype=torch.long, device=model.device)
        self._processors = Processors(
            config, vocab_size, stop_ids=self.stop_ids, bad_words=bad_words
        )

    def __call__(
        self, logits: Tensor, contexts: Sequence[Sequence[int]], prompt_lengths: Sequence[int]
    ) -> Tensor:
        """Score the next token of each context.

        Args:
            logits: ``(B, V)``, or log-probabilities; overwritten if float32.
            contexts: Prompt and generated ids of each row.
            prompt_lengths: How many ids of each row are the prompt.

        Returns:
            ``(B, V)``, float32; ``-inf`` for what may not come next.

        Raises:
            CheckpointError: If the logits are not numbers.
        """
        scores = logits.float()
        _check_finite(scores.max(-1).values)
        scores.index_fill_(1, self._suppress, -INFINITY)
        if self._processors:
            scores = self._processors(scores, contexts, prompt_lengths)
        return scores


def check_choice(best: Sequence[float]) -> None:
    """Refuse to choose where nothing may come next.

    Args:
        best: The highest score of each row.

    Raises:
        ConfigError: If one is ``-inf``.
    """
    if -INFINITY in best:
        raise nothing_allowed()


def nothing_allowed() -> ConfigError:
    """The error to raise when no token may come next."""
    return ConfigError(
        "the settings forbid every token there is; relax no_repeat_ngram_size, bad_words, "
        "bad_words_ids or min_new_tokens, or generate fewer tokens"
    )


def _check_finite(best: Tensor) -> None:
    if not math.isfinite(best.sum()):
        raise CheckpointError(
            "the model's scores are not finite numbers, so no token can be chosen; the weights "
            "are damaged, or their training diverged: use an earlier checkpoint"
        )


def _check_stop_ids(stop_ids: Collection[int], vocab_size: int) -> None:
    wrong = [token for token in stop_ids if not 0 <= token < vocab_size]
    if wrong:
        raise ConfigError(
            f"stop_ids holds {wrong[0]} but the model has {vocab_size} tokens, numbered from 0"
        )
