"""What generation settings do to scores, each a pure function from logits to logits.

Logits are ``(B, V)``; ``-inf`` marks a token that may not come next. Arrays may be of any library
of the Python array API. Names and results are those of transformers' logits processors, and
OpenAI's for presence_penalty, frequency_penalty and logit_bias. `Processors` applies those that
read the text so far, `filtered` those of sampling.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError
from gpt1.generation.bad_words import BadWords
from gpt1.native.sampling import SMALLEST_TEMPERATURE

Array: TypeAlias = Any
"""An array of the Python array API."""

Rows: TypeAlias = Sequence[Sequence[int]]
"""Token ids of each row of the logits; rows may differ in length."""

INFINITY = float("inf")

SHARES = (30, 3, 0.5)
"""Where to look for what `top_p` keeps: above so many times the average of what it removes."""

ROUNDING = 1e-9
"""More than what sums of probabilities in float64 are off by."""

OF_THE_TEXT = (
    "logit_bias",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "min_new_tokens",
)
"""Settings of the ids so far, in the order they are applied."""


# ---------------------------------------------------------------- of the text so far


def logit_bias(logits: Array, bias: Iterable[tuple[int, float]]) -> Array:
    """Add a bias to the logits of single ids (OpenAI's ``logit_bias``)."""
    row = np.zeros((1, logits.shape[-1]))
    for token, value in bias:
        row[0, token] = value
    return logits + _like(logits, row)


def repetition_penalty(logits: Array, ids: Rows, penalty: float) -> Array:
    """Divide the positive and multiply the negative logits of the ids of each row by ``penalty``.

    Args:
        logits: ``(B, V)``.
        ids: Prompt and generated ids; how often an id occurs does not matter.
        penalty: Above 0; above 1 discourages repetition.

    Returns:
        ``(B, V)``.

    Source: Keskar et al. 2019, section 4.1, as in transformers.
    """
    xp = namespace(logits)
    penalised = xp.where(logits < 0, logits * penalty, logits / penalty)
    return xp.where(_marked(logits, ids), penalised, logits)


def occurrence_penalties(
    logits: Array, generated: Rows, presence: float, frequency: float
) -> Array:
    """Subtract ``frequency`` for each time an id was generated, and once ``presence``.

    Args:
        logits: ``(B, V)``.
        generated: Generated ids, without the prompt.
        presence: In ``[-2, 2]``.
        frequency: In ``[-2, 2]``.

    Returns:
        ``(B, V)``.

    Source: OpenAI's API reference, "frequency and presence penalties".
    """
    counts = np.zeros(logits.shape)
    for row, ids in enumerate(generated):
        np.add.at(counts[row], list(ids), 1)
    return logits - _like(logits, frequency * counts + presence * (counts > 0))


def no_repeat_ngram(logits: Array, ids: Rows, size: int) -> Array:
    """Forbid every token that would complete an n-gram a row already holds.

    Args:
        logits: ``(B, V)``.
        ids: Prompt and generated ids.
        size: n, at least 1.

    Returns:
        ``(B, V)``.
    """
    return forbid(logits, [_seen_after(row, size - 1) for row in ids])


def _seen_after(ids: Sequence[int], length: int) -> list[int]:
    """The tokens that have followed the last ``length`` ids of a row before."""
    row = np.asarray(ids)
    starts = len(row) - length
    if starts <= 0:
        return []
    matches = np.ones(starts, dtype=bool)
    for offset in range(length):
        matches &= row[offset : offset + starts] == row[starts + offset]
    followers: list[int] = row[length:][matches].tolist()
    return followers


def no_bad_words(logits: Array, ids: Rows, words: Rows) -> Array:
    """Forbid the last id of each run of ids wherever a row ends with the others.

    Args:
        logits: ``(B, V)``.
        ids: Prompt and generated ids.
        words: Runs of ids, none empty (transformers' ``bad_words_ids``).

    Returns:
        ``(B, V)``.
    """
    return forbid(logits, [_completing(row, words) for row in ids])


def _completing(ids: Sequence[int], words: Rows) -> list[int]:
    return [
        word[-1]
        for word in words
        if len(word) == 1 or list(ids[1 - len(word) :]) == list(word[:-1])
    ]


def forbid(logits: Array, tokens: Sequence[Collection[int]]) -> Array:
    """Forbid the given tokens of each row."""
    return _keep(logits, ~_marked(logits, tokens)) if any(tokens) else logits


# ---------------------------------------------------------------- of sampling


def temperature(logits: Array, value: float) -> Array:
    """Divide logits ``(B, V)`` by ``value > 0``: below 1 is more cautious, above 1 bolder."""
    return logits / value


def top_k(logits: Array, k: int) -> Array:
    """Keep the ``k >= 1`` highest logits of each row of ``(B, V)``, and those equal to the k-th."""
    xp = namespace(logits)
    k = min(k, logits.shape[-1])
    if isinstance(logits, np.ndarray):
        lowest = np.array([[_kth_highest(row, k)] for row in logits])
    else:
        lowest = xp.sort(logits, axis=-1, stable=False)[:, -k, None]
    return _keep(logits, logits >= lowest)


def _kth_highest(row: NDArray[Any], k: int) -> Any:
    """The k-th highest number of a row, without sorting it.

    Among some of the row, the k-th highest is as low or lower; few others are as high.
    """
    some = row[:: math.isqrt(len(row) // k)]
    few = row[np.flatnonzero(row >= np.partition(some, -k)[-k])]
    return np.partition(few, -k)[-k]


def likeliest(row: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The ids of the highest numbers of a row, the highest first, of equal ones the lower id."""
    count = min(count, len(row))
    if count == 0:
        return np.empty(0, np.int64)
    high = np.flatnonzero(row >= _kth_highest(row, count))
    found: NDArray[np.int64] = high[np.argsort(-row[high], kind="stable")][:count]
    return found


def top_p(logits: Array, p: float) -> Array:
    """Keep, in each row, the fewest tokens whose probabilities sum to ``p`` or more.

    Args:
        logits: ``(B, V)``.
        p: In ``(0, 1]``.

    Returns:
        ``(B, V)``; the most likely token of a row always stays. Of equal tokens at the border the
        first ones stay, as many as it takes.

    Source: nucleus sampling, Holtzman et al. 2019.
    """
    xp = namespace(logits)
    if isinstance(logits, np.ndarray) and logits.dtype == np.float64:
        nuclei = [_nucleus(row, p) for row in logits]
        if all(kept is not None for kept in nuclei):
            return _keep(logits, np.array(nuclei))
    ascending = xp.sort(logits, axis=-1, stable=False)
    cumulated = xp.cumulative_sum(softmax(ascending), axis=-1)
    removed = _count(cumulated[:, :-1] <= 1 - p)
    lowest = xp.take_along_axis(ascending, removed, axis=-1)
    equal = logits == lowest
    equal_kept = logits.shape[-1] - removed - _count(logits > lowest)
    place = xp.cumulative_sum(xp.astype(equal, xp.int64), axis=-1)
    return _keep(logits, (logits > lowest) | (equal & (place <= equal_kept)))


def _nucleus(row: NDArray[np.float64], p: float) -> NDArray[np.bool_] | None:
    """Which tokens of a row `top_p` keeps, without sorting them all.

    Returns:
        ``(V,)``; None where rounding decides, which is for the plain way to settle.
    """
    weights = exponentials(row)
    total, removable = weights.sum(), (1 - p) * weights.sum()
    for share in SHARES:  # the rest may be removed as a whole if it is light enough
        probable = np.flatnonzero(weights >= share * removable / len(row))
        if total - weights[probable].sum() < 0.9 * removable:
            break
    ascending = np.sort(row[probable])
    weights = np.exp(ascending - row.max())
    cumulated = (total - weights.sum() + weights.cumsum()[:-1]) / total
    if p > 1 - 1e-8 or np.any(np.abs(cumulated - (1 - p)) < ROUNDING):
        return None
    removed = int((cumulated <= 1 - p).sum())
    kept: NDArray[np.bool_] = row > ascending[removed]
    equal = np.flatnonzero(row == ascending[removed])
    kept[equal[: len(ascending) - removed - int(kept.sum())]] = True
    return kept


def min_p(logits: Array, p: float) -> Array:
    """Keep the tokens at least ``p`` in ``[0, 1]`` times as probable as the most likely one.

    Source: Nguyen et al. 2024.
    """
    xp = namespace(logits)
    probs = softmax(logits)
    return _keep(logits, probs >= p * xp.max(probs, axis=-1, keepdims=True))


def typical_p(logits: Array, p: float) -> Array:
    """Keep the tokens whose surprise is closest to the entropy, up to a probability of ``p``.

    Args:
        logits: ``(B, V)``.
        p: In ``(0, 1]``.

    Returns:
        ``(B, V)``; tokens as close as the last one kept stay as well.

    Source: locally typical sampling, Meister et al. 2022.
    """
    xp = namespace(logits)
    log_probs = log_softmax(logits)
    probs = xp.exp(log_probs)
    information = xp.where(probs > 0, log_probs, xp.zeros_like(log_probs))
    entropy = -xp.sum(information * probs, axis=-1, keepdims=True)
    distance = xp.abs(-log_probs - entropy)
    order = xp.argsort(distance, axis=-1, stable=False)
    cumulated = xp.cumulative_sum(xp.take_along_axis(probs, order, axis=-1), axis=-1)
    last = xp.take_along_axis(order, _count(cumulated[:, :-1] < p), axis=-1)
    return _keep(logits, distance <= xp.take_along_axis(distance, last, axis=-1))


def filtered(logits: Array, config: GenerationConfig) -> Array:
    """Apply the sampling settings of ``config`` to logits ``(B, V)``, in transformers' order."""
    if config.temperature is not None:
        xp = namespace(logits)
        # The highest is 0 first, so that no quotient is infinite but those below it.
        logits = logits - xp.max(logits, axis=-1, keepdims=True)
        logits = temperature(logits, max(config.temperature, SMALLEST_TEMPERATURE))
    if config.top_k is not None:
        logits = top_k(logits, config.top_k)
    if config.top_p is not None and config.top_p < 1:
        logits = top_p(logits, config.top_p)
    if config.min_p is not None:
        logits = min_p(logits, config.min_p)
    if config.typical_p is not None and config.typical_p < 1:
        logits = typical_p(logits, config.typical_p)
    return logits


# ---------------------------------------------------------------- all that a config sets


class Processors:
    """The settings of a config that read the text so far, applied in transformers' order.

    logit_bias, repetition_penalty, presence and frequency penalties, no_repeat_ngram_size,
    bad_words_ids, bad_words, min_new_tokens.

    Args:
        config: Settings; those of sampling and of beam search are not read.
        vocab_size: V, to check ids.
        stop_ids: Ids that end a text, those of the config included.
        bad_words: What `config.bad_words` forbids, for the tokenizer of the model.

    Raises:
        ConfigError: If an id is outside the vocabulary, or bad_words_ids forbids a stop id.
    """

    def __init__(
        self,
        config: GenerationConfig,
        vocab_size: int,
        *,
        stop_ids: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        _check_ids("logit_bias", [token for token, _ in config.logit_bias], vocab_size)
        _check_ids("bad_words_ids", [i for word in config.bad_words_ids for i in word], vocab_size)
        if ends := [i for i, *more in config.bad_words_ids if i in stop_ids and not more]:
            raise ConfigError(
                f"bad_words_ids holds {ends[0]}, which ends the text; to forbid the end for a "
                "number of tokens set min_new_tokens"
            )
        self._config = config
        self._stop_ids = list(stop_ids)
        self._bad_words = bad_words

    def __bool__(self) -> bool:
        """Whether there is anything to apply."""
        return self._bad_words is not None or any(
            getattr(self._config, name) != getattr(GenerationConfig, name) for name in OF_THE_TEXT
        )

    def __call__(self, logits: Array, ids: Rows, prompt_lengths: Sequence[int]) -> Array:
        """Apply them.

        Args:
            logits: ``(B, V)``.
            ids: Prompt and generated ids of each row, also those beyond the model's window.
            prompt_lengths: How many ids of each row are the prompt.

        Returns:
            ``(B, V)``; the argument itself is not changed.
        """
        config = self._config
        generated = [row[length:] for row, length in zip(ids, prompt_lengths, strict=True)]
        if config.logit_bias:
            logits = logit_bias(logits, config.logit_bias)
        if config.repetition_penalty != 1:
            logits = repetition_penalty(logits, ids, config.repetition_penalty)
        if config.presence_penalty or config.frequency_penalty:
            logits = occurrence_penalties(
                logits, generated, config.presence_penalty, config.frequency_penalty
            )
        if config.no_repeat_ngram_size:
            logits = no_repeat_ngram(logits, ids, config.no_repeat_ngram_size)
        if config.bad_words_ids:
            logits = no_bad_words(logits, ids, config.bad_words_ids)
        return forbid(logits, [self._forbidden(*row) for row in zip(ids, generated, strict=True)])

    def _forbidden(self, ids: Sequence[int], generated: Sequence[int]) -> list[int]:
        """Ids that bad words and min_new_tokens forbid behind a row."""
        is_last = len(generated) + 1 == self._config.max_new_tokens
        may_end, bad = True, list[int]()
        if self._bad_words is not None:
            may_end, bad = self._bad_words.forbidden(ids, is_last=is_last)
        may_end = may_end and len(generated) >= self._config.min_new_tokens
        return bad if may_end else [*bad, *self._stop_ids]


def _check_ids(name: str, ids: Iterable[int], vocab_size: int) -> None:
    for token in ids:
        if not 0 <= token < vocab_size:
            raise ConfigError(
                f"{name} holds the id {token} but the model has {vocab_size} tokens, numbered "
                "from 0"
            )


# ---------------------------------------------------------------- arrays


def namespace(array: Array) -> Any:
    """The functions of the Python array API for the library of an array."""
    if isinstance(array, np.ndarray) and hasattr(np, "cumulative_sum"):  # NumPy 2.1 and later
        return np
    from array_api_compat import array_namespace  # not above: it loads much that is not needed

    return array_namespace(array)


def softmax(logits: Array) -> Array:
    """Probabilities of logits ``(B, V)``."""
    xp = namespace(logits)
    exponentials = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))
    return exponentials / xp.sum(exponentials, axis=-1, keepdims=True)


def exponentials(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """What `softmax` divides by its sum, of one row ``(V,)``; no time is lost on ``-inf``."""
    possible = np.flatnonzero(row > -INFINITY)
    if len(possible) == len(row):
        weights: NDArray[np.float64] = np.exp(row - row.max())
        return weights
    weights = np.zeros(len(row))
    weights[possible] = np.exp(row[possible] - row.max())
    return weights


def log_softmax(logits: Array) -> Array:
    """Log-probabilities, in nats, of logits ``(B, V)``."""
    xp = namespace(logits)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def _keep(logits: Array, kept: Array) -> Array:
    """Logits where ``kept``, elsewhere -inf."""
    xp = namespace(logits)
    nothing = xp.asarray(-INFINITY, dtype=logits.dtype, device=logits.device)
    return xp.where(kept, logits, nothing)


def _count(mask: Array) -> Array:
    """How many of each row of ``(B, N)`` are true, ``(B, 1)``."""
    xp = namespace(mask)
    return xp.sum(xp.astype(mask, xp.int64), axis=-1, keepdims=True)


def _marked(logits: Array, ids: Sequence[Collection[int]]) -> Array:
    """``(B, V)``: whether a token is among the ids of its row."""
    mask = np.zeros(logits.shape, dtype=bool)
    for row, tokens in enumerate(ids):
        mask[row, list(tokens)] = True
    return namespace(logits).asarray(mask, device=logits.device)


def _like(logits: Array, values: np.ndarray[Any, Any]) -> Array:
    """A NumPy array as an array of the kind of ``logits``."""
    xp = namespace(logits)
    return xp.astype(xp.asarray(values, device=logits.device), logits.dtype)
