"""Scores and perplexity against the plain softmax."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation import scoring
from gpt1.evaluation.scoring import Document, Score, perplexity, score_ids, windows
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


def test_stride_one_equals_scoring_every_token_on_its_own_with_all_that_fits_before_it(
    model: GPT,
) -> None:
    ids = random_ids(50)
    alone = [plain(model, ids[max(0, t - 16) : t + 1])[-1] for t in range(1, 50)]
    (score,) = score_ids(model, [ids], stride=1)
    assert_close(score.log_probs, alone)


@pytest.mark.parametrize("stride", [1, 3, 16])
def test_a_stride_leaves_at_least_the_rest_of_the_positions_before_each_token(
    model: GPT, stride: int
) -> None:
    ids = random_ids(60)
    expected = plain(model, ids[:17])
    for first in range(17, 60, stride):
        end = min(60, first + stride)
        expected += plain(model, ids[end - 17 : end])[first - end :]
    (score,) = score_ids(model, [ids], stride=stride)
    assert_close(score.log_probs, expected)


@pytest.mark.parametrize("stride", [-1, 0, 17])
def test_a_stride_out_of_range_is_refused(model: GPT, stride: int) -> None:
    message = f"stride is {stride} but must be from 1, which is exact, to the model's 16 positions"
    with pytest.raises(ConfigError, match=message):
        score_ids(model, [random_ids(5)], stride=stride)
    with pytest.raises(ConfigError, match=message):
        perplexity(model, [], stride=stride)


def test_progress_adds_up_to_the_scored_tokens(model: GPT) -> None:
    told: list[int] = []
    texts = [random_ids(length) for length in (40, 1, 0, 9)]
    score_ids(model, texts, stride=2, advance=told.append)
    assert sum(told) == 39 + 8


@given(st.integers(0, 200), st.integers(1, 40), st.integers(1, 40))
def test_windows_score_each_token_but_the_first_once(
    length: int, n_positions: int, stride: int
) -> None:
    stride = min(stride, n_positions)
    cut = list(windows(3, length, n_positions, stride))
    assert [t for w in cut for t in range(w.first, w.end)] == list(range(1, length))
    for window in cut:
        assert window.text == 3
        assert window.size <= n_positions
        assert 0 <= window.start < window.first
        context = window.first - window.start
        assert window.start == 0 or context > n_positions - stride


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
    assert result.stride == 8


def test_bytes_are_those_of_utf_8(model: GPT) -> None:
    texts = [("naïve – 猫", random_ids(10, 1)), ("\ud800", random_ids(3, 2))]
    result = perplexity(model, texts)
    assert (result.characters, result.utf8_bytes) == (10, 14 + 3)
    assert result.bits_per_byte == pytest.approx(result.bits_per_character * 10 / 17)


def test_the_figures_of_each_text_add_up_to_those_of_all(model: GPT) -> None:
    texts = [("abc", random_ids(10, 1)), ("é", [3]), ("", []), ("défgh", random_ids(30, 2))]
    found: list[Document] = []
    result = perplexity(model, texts, names=["a", "b", None, "d"], documents=found.append)
    assert [(d.number, d.name) for d in found] == [(0, "a"), (1, "b"), (2, None), (3, "d")]
    assert [d.tokens for d in found] == [9, 0, 0, 29]
    assert [(d.characters, d.utf8_bytes) for d in found] == [(3, 3), (1, 2), (0, 0), (5, 6)]
    nats = [-score.sum for score in score_ids(model, [ids for _, ids in texts])]
    assert [d.nats for d in found] == pytest.approx(nats)
    assert result.nats_per_token == pytest.approx(sum(nats) / 38)
    last = found[3]
    assert last.nats_per_token == pytest.approx(nats[3] / 29)
    assert last.bits_per_character == pytest.approx(nats[3] / math.log(2) / 5)
    assert last.bits_per_byte == pytest.approx(nats[3] / math.log(2) / 6)
    nothing = (found[1].nats_per_token, found[1].bits_per_character, found[1].bits_per_byte)
    assert nothing == (None, None, None)


def test_documents_are_told_before_all_texts_are_read(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "TEXTS_AT_ONCE", 2)
    events: list[object] = []
    texts = ((events.append("read"), ("ab", random_ids(4)))[1] for _ in range(4))
    perplexity(model, texts, documents=lambda document: events.append(document.number))
    assert events == ["read", "read", 0, 1, "read", "read", 2, 3]


def test_the_interval_resamples_texts(model: GPT) -> None:
    texts = [("x" * length, random_ids(length, length)) for length in range(5, 25)]
    nats = np.array([-score.sum for score in score_ids(model, [ids for _, ids in texts])])
    tokens = np.array([len(ids) - 1 for _, ids in texts])
    expected = scipy.stats.bootstrap(
        (nats, tokens),
        lambda nats, tokens, axis: nats.sum(axis) / tokens.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=2_000,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    interval = perplexity(model, texts, seed=7).interval
    assert interval is not None
    assert interval.nats_per_token == pytest.approx(tuple(expected))
    assert interval.perplexity == pytest.approx(tuple(np.exp(expected)))
    assert interval.bits_per_byte == interval.bits_per_character
    low, high = interval.bits_per_character
    assert low < perplexity(model, texts).bits_per_character < high


def test_one_text_has_no_interval(model: GPT) -> None:
    assert perplexity(model, [("abc", random_ids(10)), ("a", [1])]).interval is None


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
