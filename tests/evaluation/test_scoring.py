"""Scores and perplexity against the plain softmax."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import DataError
from gpt1.evaluation import scoring
from gpt1.evaluation.scoring import Score, perplexity, score_ids, windows
from gpt1.model import GPT
from lively import lively_model

VOCAB = 80


@pytest.fixture(scope="module")
def model() -> GPT:
    return lively_model(VOCAB)


def random_ids(length: int, seed: int = 0) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(VOCAB) for _ in range(length)]


def plain(model: GPT, ids: list[int]) -> list[float]:
    """Log-probability of each id but the first, from the logits of the whole text at once."""
    with torch.no_grad():
        logits = model(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    return [float(row[token]) for row, token in zip(logits, ids[1:], strict=True)]


def assert_close(ours: list[float | None], expected: list[float]) -> None:
    assert ours[:1] == [None]
    assert ours[1:] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("length", [2, 3, 16, 17])
def test_log_probs_equal_the_full_softmax_up_to_one_more_than_n_positions(
    model: GPT, length: int
) -> None:
    ids = random_ids(length)
    (score,) = score_ids(model, [ids])
    assert score.ids == ids
    assert_close(score.log_probs, plain(model, ids))


def test_later_tokens_are_scored_with_at_least_half_the_positions_before_them(model: GPT) -> None:
    ids = random_ids(50)
    expected = plain(model, ids[:17])
    for first in range(17, 50, 8):  # what slides is 8 tokens; a window reads 16
        end = min(50, first + 8)
        expected += plain(model, ids[end - 17 : end])[first - end :]
    (score,) = score_ids(model, [ids])
    assert_close(score.log_probs, expected)


@pytest.mark.parametrize("n_positions", [1, 2, 3])
def test_the_smallest_models_score_every_token(n_positions: int) -> None:
    small = lively_model(VOCAB, n_positions=n_positions)
    ids = random_ids(9)
    (score,) = score_ids(small, [ids])
    assert len(score.log_probs) == 9
    assert_close(score.log_probs[:2], plain(small, ids[:2]))
    assert all(value is not None and value < 0 for value in score.log_probs[1:])


def test_scores_do_not_depend_on_the_other_texts(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [random_ids(length, seed=length) for length in (7, 0, 40, 1, 2, 16, 3, 25)]
    alone = [score_ids(model, [ids])[0] for ids in texts]
    for batch_tokens in (1, 40, 4096):
        monkeypatch.setattr(scoring, "BATCH_TOKENS", batch_tokens)
        for ours, expected in zip(score_ids(model, texts), alone, strict=True):
            assert ours.ids == expected.ids
            assert ours.log_probs == pytest.approx(expected.log_probs, abs=1e-5)


@given(st.integers(0, 200), st.integers(1, 40))
def test_windows_score_each_token_but_the_first_once(length: int, n_positions: int) -> None:
    cut = list(windows(3, length, n_positions))
    assert [t for w in cut for t in range(w.first, w.end)] == list(range(1, length))
    for window in cut:
        assert window.text == 3
        assert window.size <= n_positions
        assert 0 <= window.start < window.first
        context = window.first - window.start
        assert window.start == 0 or context >= n_positions - max(1, n_positions // 2)


def test_the_sum_and_the_number_of_tokens_leave_out_the_first() -> None:
    score = Score([5, 6, 7], [None, -1.5, -2.0])
    assert (score.sum, score.num_tokens) == (-3.5, 2)


@pytest.mark.parametrize("ids", [[], [4]])
def test_a_text_below_two_tokens_has_nothing_scored(model: GPT, ids: list[int]) -> None:
    (score,) = score_ids(model, [ids])
    assert (score.log_probs, score.sum, score.num_tokens) == ([None] * len(ids), 0.0, 0)


def test_dropout_is_off_while_scoring(model: GPT) -> None:
    training = lively_model(VOCAB).train()
    ids = random_ids(12)
    assert score_ids(training, [ids]) == score_ids(model, [ids])
    assert training.training


def test_an_unknown_id_is_refused(model: GPT) -> None:
    with pytest.raises(DataError, match="text 1 holds the id 80 but the model has 80 tokens"):
        score_ids(model, [[1, 2], [3, 80]])


def test_perplexity_sums_up_the_scores(model: GPT) -> None:
    texts = [("abc", random_ids(10, 1)), ("defgh", random_ids(30, 2))]
    loss = -sum(score.sum for score in score_ids(model, [ids for _, ids in texts]))
    result = perplexity(model, texts)
    assert (result.tokens, result.characters, result.texts) == (38, 8, 2)
    assert result.nats_per_token == pytest.approx(loss / 38)
    assert result.perplexity == pytest.approx(math.exp(loss / 38))
    assert result.bits_per_character == pytest.approx(loss / math.log(2) / 8)


def test_texts_below_two_tokens_do_not_count_for_perplexity(model: GPT) -> None:
    real = ("abc", random_ids(10))
    assert perplexity(model, [("x" * 99, [1]), real, ("", [])]) == perplexity(model, [real])


def test_perplexity_reads_any_number_of_texts_as_they_come(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [("ab", random_ids(5, seed)) for seed in range(7)]
    expected = perplexity(model, texts)
    monkeypatch.setattr(scoring, "TEXTS_AT_ONCE", 3)
    result = perplexity(model, iter(texts))
    assert result.perplexity == pytest.approx(expected.perplexity)
    assert (result.tokens, result.texts) == (expected.tokens, 7)


def test_a_hopeless_loss_gives_infinite_perplexity() -> None:
    model = lively_model(VOCAB)
    with torch.no_grad():
        model.tokens_embed.weight.mul_(1e4)
    assert perplexity(model, [("ab", random_ids(9))]).perplexity == math.inf


@pytest.mark.parametrize("texts", [[], [("a", [1]), ("", [])]])
def test_nothing_to_score_is_refused(model: GPT, texts: list[tuple[str, list[int]]]) -> None:
    with pytest.raises(DataError, match="nothing to score: no text has two or more tokens"):
        perplexity(model, texts)
