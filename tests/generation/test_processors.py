"""Processors equal transformers', or OpenAI's formula, on arrays of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
import transformers
from hypothesis import given as given_ids
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError
from gpt1.generation import processors
from gpt1.generation.processors import Processors

VOCAB = 300
KINDS: dict[str, Callable[[Any], Any]] = {
    "numpy": np.asarray,
    "torch": torch.asarray,
    "torch32": lambda values: torch.asarray(values, dtype=torch.float32),
    "strict": array_api_strict.asarray,
}


def random_logits(scale: float, rows: int = 5) -> NDArray[np.float64]:
    # Exact in float32, too.
    values = np.random.default_rng(int(scale)).standard_normal((rows, VOCAB)) * scale
    return values.astype(np.float32).astype(np.float64)


def special_logits() -> NDArray[np.float64]:
    """Ties, tokens that are forbidden already, extreme values."""
    logits = random_logits(2.0)
    logits[0] = np.round(logits[0])
    logits[1, ::2] = -np.inf
    logits[2, :5] = [1e4, -1e4, 9.99e3, 1e4, -3e38]
    logits[3] = -7.5
    logits[4, 1:] = -np.inf
    return logits


LOGITS = np.concatenate([random_logits(1), random_logits(3), random_logits(12), special_logits()])
"""Flat, usual, peaked and special rows, five of each."""


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest) -> Any:
    """`LOGITS` as an array of one kind."""
    return KINDS[request.param](LOGITS)


def ragged_ids(vocab: int = VOCAB) -> list[list[int]]:
    source = np.random.default_rng(4)
    lengths = source.integers(1, 120, size=len(LOGITS))
    return [source.integers(0, vocab, size=length).tolist() for length in lengths]


def as_numpy(array: Any) -> NDArray[np.float64]:
    return np.asarray(array.numpy() if torch.is_tensor(array) else array).astype(np.float64)


def check(ours: Any, expected: Tensor, given: Any) -> None:
    """Our result is an array of the kind given, with the values expected."""
    assert (type(ours), ours.dtype) == (type(given), given.dtype)
    np.testing.assert_allclose(as_numpy(ours), as_numpy(expected), rtol=2e-7, atol=0)


def theirs(processor: Any, given: Any, ids: list[list[int]] | None = None) -> Tensor:
    """Apply transformers' processor, each row alone, as rows may differ in length."""
    scores = given if torch.is_tensor(given) else torch.tensor(np.asarray(given))
    rows = ids or [[0]] * len(scores)
    return torch.cat(
        [processor(torch.tensor([row]), scores[i : i + 1].clone()) for i, row in enumerate(rows)]
    )


@pytest.mark.parametrize("value", [0.1, 0.8, 1.0, 2.5])
def test_temperature_equals_transformers(given: Any, value: float) -> None:
    expected = theirs(transformers.TemperatureLogitsWarper(value), given)
    check(processors.temperature(given, value), expected, given)


@pytest.mark.parametrize("k", [1, 2, 40, VOCAB, 10**6])
def test_top_k_equals_transformers(given: Any, k: int) -> None:
    check(processors.top_k(given, k), theirs(transformers.TopKLogitsWarper(k), given), given)


@pytest.mark.parametrize("p", [1e-9, 0.123, 0.55, 0.9, 0.95, 0.999, 1.0])
def test_top_p_equals_transformers(given: Any, p: float) -> None:
    expected = as_numpy(theirs(transformers.TopPLogitsWarper(p), given))
    ours = as_numpy(processors.top_p(given, p))
    np.testing.assert_array_equal(np.sort(ours), np.sort(expected))
    # Of equal tokens at the border the first stay; in transformers it is chance which.
    lowest = np.where(np.isfinite(expected), expected, np.inf).min(-1, keepdims=True)
    away = as_numpy(given) != lowest
    np.testing.assert_array_equal(ours[away], expected[away])
    for row, border in zip(np.isfinite(ours), ~away, strict=True):
        assert row[border].tolist() == sorted(row[border], reverse=True)


def many_rows() -> NDArray[np.float64]:
    """Flat and peaked, with and without ties, with few and with many tokens left."""
    source = np.random.default_rng(7)
    rows = source.standard_normal((120, 1000)) * np.geomspace(0.01, 30, 120)[:, None]
    rows[::3] = np.round(rows[::3], 1)
    rows[1::4] = np.where(source.random((30, 1000)) < 0.9, -np.inf, rows[1::4])
    return rows


@pytest.mark.parametrize("k", [1, 2, 31, 32, 500, 1000])
def test_on_numpy_top_k_finds_what_sorting_finds(k: int) -> None:
    rows = many_rows()
    expected = as_numpy(processors.top_k(torch.asarray(rows), k))
    np.testing.assert_array_equal(processors.top_k(rows, k), expected)


@pytest.mark.parametrize("p", [1e-12, 0.1, 0.5, 0.75, 0.95, 0.999, 1 - 1e-9, 1 - 2**-53])
def test_on_numpy_top_p_finds_what_sorting_finds(monkeypatch: pytest.MonkeyPatch, p: float) -> None:
    rows = many_rows()
    rows[-1] = 0.0  # all alike: rounding decides
    ours = processors.top_p(rows, p)
    found = [processors._nucleus(row, p) is not None for row in rows]
    assert (sum(found) > 100) == (p < 1 - 1e-8)
    assert found[-1] == (p == 1e-12)
    monkeypatch.setattr(processors, "_nucleus", lambda *_: None)
    np.testing.assert_array_equal(ours, processors.top_p(rows, p))


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.05, 0.5, 1.0])
def test_min_p_equals_transformers(given: Any, p: float) -> None:
    check(processors.min_p(given, p), theirs(transformers.MinPLogitsWarper(p), given), given)


@pytest.mark.parametrize("p", [1e-9, 0.2, 0.55, 0.95, 0.999])
def test_typical_p_equals_transformers(given: Any, p: float) -> None:
    expected = theirs(transformers.TypicalLogitsWarper(p), given)
    check(processors.typical_p(given, p), expected, given)


def test_shares_of_1_keep_everything() -> None:
    assert processors.filtered(LOGITS, GenerationConfig(top_p=1.0, typical_p=1.0)) is LOGITS


@pytest.mark.parametrize("penalty", [0.5, 1.3, 100.0])
def test_repetition_penalty_equals_transformers(given: Any, penalty: float) -> None:
    ids = ragged_ids()
    expected = theirs(transformers.RepetitionPenaltyLogitsProcessor(penalty), given, ids)
    check(processors.repetition_penalty(given, ids, penalty), expected, given)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_no_repeat_ngram_equals_transformers(given: Any, size: int) -> None:
    ids = ragged_ids(vocab=3)
    expected = theirs(transformers.NoRepeatNGramLogitsProcessor(size), given, ids)
    check(processors.no_repeat_ngram(given, ids, size), expected, given)


@settings(max_examples=60, deadline=None)
@given_ids(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 6))
def test_no_repeat_ngram_equals_transformers_for_any_ids(ids: list[int], size: int) -> None:
    logits = np.zeros((1, 4))
    expected = theirs(transformers.NoRepeatNGramLogitsProcessor(size), logits, [ids])
    assert processors.no_repeat_ngram(logits, [ids], size).tolist() == expected.tolist()


def test_no_bad_words_equals_transformers(given: Any) -> None:
    ids = [[1], [1, 2, 3], [9, 1, 2], [2], [1, 1]] * 4
    words = [[7], [1, 5], [2, 3, 4], [1, 2, 8], [1, 1, 1, 1, 6], [5, 5]]
    expected = theirs(transformers.NoBadWordsLogitsProcessor(words), given, ids)
    check(processors.no_bad_words(given, ids, words), expected, given)


def test_occurrence_penalties_are_the_formula_of_openai(given: Any) -> None:
    generated = [*ragged_ids(vocab=8)[1:], []]
    expected = LOGITS.copy()
    for row, ids in enumerate(generated):
        for token in range(8):
            count = ids.count(token)
            expected[row, token] -= count * 0.7 + float(count > 0) * -1.5
    ours = processors.occurrence_penalties(given, generated, -1.5, 0.7)
    np.testing.assert_allclose(as_numpy(ours), expected, rtol=1e-5, atol=1e-6)


def test_logit_bias_is_added(given: Any) -> None:
    expected = LOGITS.copy()
    expected[:, 3] += 2.25
    expected[:, 290] -= 100.0
    ours = processors.logit_bias(given, [(3, 2.25), (290, -100.0)])
    np.testing.assert_allclose(as_numpy(ours), expected, rtol=1e-5, atol=1e-6)


def everything(**more: Any) -> Processors:
    config = GenerationConfig(
        logit_bias=((1, 3.0), (2, -0.5)),
        repetition_penalty=1.4,
        presence_penalty=0.6,
        frequency_penalty=0.3,
        no_repeat_ngram_size=2,
        bad_words_ids=((3,), (5, 6)),
        min_new_tokens=3,
    )
    return Processors(config, VOCAB, **more)


def test_an_array_that_is_given_is_not_changed(given: Any) -> None:
    before = as_numpy(given).copy()
    config = GenerationConfig(temperature=0.5, top_k=9, top_p=0.9, min_p=0.1, typical_p=0.9)
    processors.filtered(given, config)
    everything(stop_ids=(4,))(given, [[1, 2]] * len(LOGITS), [1] * len(LOGITS))
    np.testing.assert_array_equal(as_numpy(given), before)


def test_the_likeliest_token_always_stays() -> None:
    alike = np.zeros((1, 50))
    for function in (processors.top_p, processors.typical_p):
        assert np.isfinite(function(alike, 1e-30)).any()


def test_sampling_settings_apply_in_the_order_of_transformers() -> None:
    config = GenerationConfig(temperature=0.7, top_k=200, top_p=0.93, min_p=0.01, typical_p=0.9)
    expected: Any = LOGITS - LOGITS.max(-1, keepdims=True)
    for warper in (
        transformers.TemperatureLogitsWarper(0.7),
        transformers.TopKLogitsWarper(200),
        transformers.TopPLogitsWarper(0.93),
        transformers.MinPLogitsWarper(0.01),
        transformers.TypicalLogitsWarper(0.9),
    ):
        expected = theirs(warper, expected)
    kept = np.sort(processors.filtered(LOGITS, config))  # sorted: see top_p on equal tokens
    np.testing.assert_allclose(kept, np.sort(as_numpy(expected)), rtol=1e-12, atol=0)


def test_settings_that_are_not_set_change_nothing() -> None:
    assert processors.filtered(LOGITS, GenerationConfig()) is LOGITS
    assert not Processors(GenerationConfig(), VOCAB)


def test_a_tiny_temperature_leaves_the_likeliest_token() -> None:
    kept = processors.filtered(np.array([[1.0, 3.0, 2.0]]), GenerationConfig(temperature=5e-324))
    assert processors.softmax(kept).tolist() == [[0.0, 1.0, 0.0]]


def test_processors_apply_in_the_order_of_transformers() -> None:
    ids = [[1, 2, 5], [2, 2, 2, 2], [5], [1, 7, 1], [8, 9]] * 4
    prompt_lengths = [1, 2, 1, 2, 1] * 4
    bias = transformers.SequenceBiasLogitsProcessor([[[1], 3.0], [[2], -0.5]])
    expected = theirs(bias, LOGITS)
    expected = theirs(transformers.RepetitionPenaltyLogitsProcessor(1.4), expected, ids)
    for row, (context, length) in enumerate(zip(ids, prompt_lengths, strict=True)):
        for token in set(context[length:]):
            expected[row, token] -= 0.6 + 0.3 * context[length:].count(token)
    expected = theirs(transformers.NoRepeatNGramLogitsProcessor(2), expected, ids)
    expected = theirs(transformers.NoBadWordsLogitsProcessor([[3], [5, 6]]), expected, ids)
    shortest = [len(c) - n < 3 for c, n in zip(ids, prompt_lengths, strict=True)]
    expected[torch.tensor(shortest), 4] = -torch.inf
    ours = everything(stop_ids=(4,))(LOGITS, ids, prompt_lengths)
    np.testing.assert_allclose(ours, as_numpy(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("length", "allowed"), [(1, False), (2, False), (3, True), (4, True)])
def test_min_new_tokens_counts_generated_ids(length: int, allowed: bool) -> None:
    processor = Processors(GenerationConfig(min_new_tokens=2), VOCAB, stop_ids=(4, 5))
    scores = processor(np.zeros((1, VOCAB)), [[0] * length], [1])
    assert np.isfinite(scores[0, [4, 5]]).tolist() == [allowed] * 2
    assert np.isfinite(scores).sum() == VOCAB - 2 * (not allowed)


@pytest.mark.parametrize("wrong", [-1, VOCAB])
@pytest.mark.parametrize("name", ["logit_bias", "bad_words_ids"])
def test_an_id_outside_the_vocabulary_is_refused(name: str, wrong: int) -> None:
    value: Any = ((1, 1.0), (wrong, 1.0)) if name == "logit_bias" else ((1, wrong),)
    config = GenerationConfig(**{name: value})
    with pytest.raises(ConfigError, match=f"{name} holds the id {wrong} but the model has 300"):
        Processors(config, VOCAB)


def test_a_stop_id_as_a_bad_word_is_refused_but_may_be_part_of_one() -> None:
    with pytest.raises(ConfigError, match=r"bad_words_ids holds 4, which ends.*min_new_tokens"):
        Processors(GenerationConfig(bad_words_ids=((1,), (4,))), VOCAB, stop_ids=(4,))
    assert Processors(GenerationConfig(bad_words_ids=((1, 4),)), VOCAB, stop_ids=(4,))
