"""Classification without training: which label word does the model expect behind a text?

What GPT-1's paper does for sentiment (section 5, "Zero-shot behaviors"), for any text and words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from gpt1.errors import ConfigError
from gpt1.evaluation.shared_prefix import (
    Advance,
    LogProbs,
    TokenModel,
    continuation_log_probs,
    cut_prompts,
)
from gpt1.tokenizer import Tokenizer

REDUCTIONS = ("mean", "sum")
"""What may become of the log-probabilities of several tokens."""


class Scorer(Protocol):
    """A model with its tokenizer: a `LanguageModel`, or one over another network."""

    @property
    def model(self) -> TokenModel:
        """The network."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The one it was trained with."""


class Queries(NamedTuple):
    """What a model is asked: prompts, and the candidates that may stand behind each."""

    prompts: list[list[int]]
    candidates: list[list[list[int]]]


@dataclass(frozen=True)
class WordClasses:
    """What `classify_by_words` found.

    Attributes:
        labels: The most probable class of each text.
        probabilities: For each text, of every class; they sum to 1.
        cut: Number of texts that lost their beginning because they were too long.
    """

    labels: list[str]
    probabilities: list[dict[str, float]]
    cut: int


def classify_by_words(
    lm: Scorer,
    texts: Sequence[str],
    labels: Sequence[str] | Mapping[str, str],
    *,
    template: str = "{text} very",
    reduction: str = "mean",
    calibrate: bool = False,
    advance: Advance | None = None,
) -> WordClasses:
    """Classify texts by the label word the model expects next.

    Args:
        lm: Model and tokenizer.
        texts: To classify; one that is too long loses its beginning.
        labels: The classes, at least two: words, or class names with the word for each. A word of
            several tokens counts by the mean of their log-probabilities.
        template: What the model reads; ``{text}`` stands for the text, the word comes behind all.
        reduction: "mean", or "sum": the probability of the whole word, which favours short ones.
        calibrate: Divide the probability of each word by what it is for an empty text, so that no
            word wins for being common.
        advance: Told about progress.

    Returns:
        Labels and probabilities, in the order of the texts.

    Raises:
        ConfigError: If there are fewer than two labels, a word has no tokens, or the template has
            no ``{text}``, or nothing else where it is needed.

    Source: GPT-1 section 5; calibration as in Zhao et al. (2021), with the empty text.
    """
    named = dict(labels) if isinstance(labels, Mapping) else {label: label for label in labels}
    queries = word_queries(
        lm.tokenizer, [*texts, *[""] * calibrate], list(named.values()), template
    )
    _, cut = cut_prompts(*queries, lm.model.config.n_positions)
    found = continuation_log_probs(lm.model, *queries, advance=advance)
    scores = np.array([[reduced(values, reduction) for values in row] for row in found])
    scores = scores.reshape(-1, len(named))
    if calibrate:
        scores = scores[:-1] - scores[-1]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    names = list(named)
    return WordClasses(
        labels=[names[best] for best in scores.argmax(axis=1)],
        probabilities=[dict(zip(names, row, strict=True)) for row in shares.tolist()],
        cut=cut,
    )


def word_queries(
    tokenizer: Tokenizer, texts: Sequence[str], words: Sequence[str], template: str
) -> Queries:
    """Texts in the template as prompts, label words as candidates.

    Raises:
        ConfigError: As `classify_by_words` does.
    """
    if len(words) < 2:
        raise ConfigError(f"there is {len(words)} label word but a choice needs at least 2")
    if "{text}" not in template:
        raise ConfigError(f"the template is {template!r} but must hold {{text}}")
    candidates = tokenizer.encode_batch(words)
    if [] in candidates:
        raise ConfigError(
            f"the label word {words[candidates.index([])]!r} has no tokens; give a word"
        )
    prompts = tokenizer.encode_batch(template.replace("{text}", text) for text in texts)
    if [] in prompts:
        raise ConfigError(
            f"the template {template!r} leaves nothing to read for an empty text; add a word to it"
        )
    return Queries(prompts, [candidates] * len(prompts))


def reduced(log_probs: LogProbs, reduction: str) -> float:
    """Mean or sum of log-probabilities, in float64; 0 where there are none.

    Raises:
        ConfigError: If ``reduction`` is neither.
    """
    if reduction not in REDUCTIONS:
        raise ConfigError(f"reduction is {reduction!r} but must be one of {', '.join(REDUCTIONS)}")
    total = float(log_probs.sum(dtype=np.float64))
    return total / max(1, len(log_probs)) if reduction == "mean" else total
