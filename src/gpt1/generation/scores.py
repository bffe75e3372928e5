"""From the model's logits to the scores tokens are chosen by, in every way of generating."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.generation.bad_words import BadWords
from gpt1.generation.processors import INFINITY, Array, Processors, namespace


class Scores:
    """What the logits of a model become under a config, before anything is sampled.

    Args:
        vocab_size: V.
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
        vocab_size: int,
        config: GenerationConfig,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        _check_stop_ids(config.stop_ids, vocab_size)
        self.stop_ids = frozenset((*stop_ids, *config.stop_ids))
        self._suppressed = np.zeros((1, vocab_size), dtype=bool)
        self._suppressed[0, list(suppress)] = True
        self._suppresses = bool(suppress)
        self._processors = Processors(
            config, vocab_size, stop_ids=self.stop_ids, bad_words=bad_words
        )

    def __call__(
        self, logits: Array, contexts: Sequence[Sequence[int]], prompt_lengths: Sequence[int]
    ) -> Array:
        """Score the next token of each context.

        Args:
            logits: ``(B, V)``, or log-probabilities, in an array of any library of the Python array
                API; they stay as they are.
            contexts: Prompt and generated ids of each row.
            prompt_lengths: How many ids of each row are the prompt.

        Returns:
            ``(B, V)``, float32; ``-inf`` for what may not come next.

        Raises:
            CheckpointError: If the logits are not numbers.
        """
        xp = namespace(logits)
        scores = xp.astype(logits, xp.float32, copy=False)
        _check_finite(scores)
        if self._suppresses:
            suppressed = xp.asarray(self._suppressed, device=logits.device)
            scores = xp.where(suppressed, xp.full_like(scores, -INFINITY), scores)
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


def _check_finite(scores: Array) -> None:
    xp = namespace(scores)
    if not xp.isfinite(xp.sum(xp.max(scores, axis=-1))):
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
