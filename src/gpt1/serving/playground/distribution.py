"""What a model expects next, by itself and under the settings of sampling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.errors import DataError
from gpt1.evaluation.explanation_page import readable
from gpt1.generation.processors import filtered, softmax
from gpt1.generation.readers import open_reader, to_numpy
from gpt1.generation.scores import Scores
from gpt1.language_model import LanguageModel

SHOWN = 8
"""Tokens that are drawn."""

REMEMBERED = 32
"""Places whose logits are kept, so that moving a slider needs no pass through the model."""


class Choice(NamedTuple):
    """A token that could come next.

    Attributes:
        id: Token id.
        word: Its text, for people.
        before: Probability by the model itself.
        after: Probability under the settings.
        ends: Whether it ends the text.
    """

    id: int
    word: str
    before: float
    after: float
    ends: bool


class Expectation(NamedTuple):
    """What could come next.

    Attributes:
        choices: The likeliest, by `before`.
        kept: How many tokens the settings leave.
        kept_share: Probability of these together by the model itself.
    """

    choices: list[Choice]
    kept: int
    kept_share: float


class Expectations:
    """What a model expects behind texts.

    Args:
        lm: The model.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._logits = lru_cache(REMEMBERED)(self._read)

    def __call__(
        self, ids: Sequence[int], config: GenerationConfig, also: int | None = None
    ) -> Expectation:
        """What could come behind a text.

        Args:
            ids: Token ids of the text.
            config: Settings; those of sampling and the penalties count.
            also: Id to show in any case.
        """
        before, after = self.probabilities(ids, config)
        best = np.argsort(-np.maximum(before, after), kind="stable")[:SHOWN].tolist()
        if also is not None and also not in best:
            best.append(also)
        best.sort(key=lambda token: -before[token])
        words = map(readable, self._lm.tokenizer.pieces(best))
        ends = self._lm.tokenizer.end_of_text_id
        choices = [
            Choice(token, word, float(before[token]), float(after[token]), token == ends)
            for token, word in zip(best, words, strict=True)
        ]
        kept = after > 0
        return Expectation(choices, int(kept.sum()), float(before[kept].sum()))

    def probabilities(
        self, ids: Sequence[int], config: GenerationConfig
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities ``(V,)`` of all tokens, by the model itself and under the settings.

        Special tokens, which are never generated, have probability 0 in both.
        """
        logits = self._logits(tuple(ids))
        limits = self._lm.limits(config)
        scores = Scores(logits.shape[-1], config, **limits)(logits, [ids], [len(ids)])
        before = softmax(logits.astype(np.float64))[0]
        before[list(limits["suppress"])] = 0
        if config.samples:
            after = softmax(np.asarray(filtered(scores, config), np.float64))[0]
        else:
            after = np.zeros_like(before)
            after[scores[0].argmax()] = 1
        return before, after

    def check(self, token: Any) -> int:
        """An id that may be put into a text.

        Raises:
            DataError: If it is none, or of a special token.
        """
        limits = self._lm.limits(GenerationConfig())
        wrong = {*limits["suppress"], *limits["stop_ids"]}
        size = self._lm.tokenizer.vocab_size
        if not isinstance(token, int) or not 0 <= token < size or token in wrong:
            raise DataError(f"the token is {token!r} but must be the id of a word, below {size}")
        return token

    def _read(self, ids: tuple[int, ...]) -> NDArray[Any]:
        reader = open_reader(self._lm.generator)
        with reader.session():
            return np.asarray(to_numpy(reader.read_prompts([ids], 1, 1)), np.float32)
