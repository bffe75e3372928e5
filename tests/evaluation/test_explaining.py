"""Token-by-token explanations against the plain softmax."""

from __future__ import annotations

import math

import pytest
import torch

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.explaining import explain_ids
from gpt1.evaluation.scoring import score_ids
from gpt1.model import GPT
from lively import lively_model

PIECES = [f"piece{number}" for number in range(80)]
IDS = [3, 14, 15, 9, 2, 65, 35, 8, 9, 79]


@pytest.fixture(scope="module")
def model() -> GPT:
    return lively_model(80)


def test_the_first_token_has_no_expectation(model: GPT) -> None:
    first = explain_ids(model, IDS, PIECES)[0]
    assert (first.position, first.id, first.piece) == (0, 3, "piece3")
    assert (first.probability, first.rank, first.alternatives) == (None, None, [])


def test_probabilities_are_those_of_the_scores(model: GPT) -> None:
    ids = IDS * 5  # longer than n_positions
    tokens = explain_ids(model, ids, PIECES)
    (score,) = score_ids(model, [ids])
    assert [token.id for token in tokens] == ids
    assert [token.position for token in tokens] == list(range(50))
    for token, log_prob in zip(tokens[1:], score.log_probs[1:], strict=True):
        assert token.probability == pytest.approx(math.exp(log_prob or 0), rel=1e-4)


def test_rank_and_alternatives_follow_the_sorted_probabilities(model: GPT) -> None:
    tokens = explain_ids(model, IDS, PIECES, top=80)
    logits = model(torch.tensor([IDS])).logits[0]
    for position, token in enumerate(tokens[1:]):
        order = logits[position].argsort(descending=True).tolist()
        assert [alternative.id for alternative in token.alternatives] == order
        assert token.rank == order.index(token.id) + 1
        assert token.alternatives[token.rank - 1].probability == pytest.approx(token.probability)
        assert sum(other.probability for other in token.alternatives) == pytest.approx(1, abs=1e-5)
        assert all(other.piece == PIECES[other.id] for other in token.alternatives)


def test_top_limits_the_alternatives(model: GPT) -> None:
    assert {len(token.alternatives) for token in explain_ids(model, IDS, PIECES, top=2)[1:]} == {2}


def test_ids_without_a_piece_are_not_offered(model: GPT) -> None:
    tokens = explain_ids(model, [3, 9, 2], PIECES[:10], top=80)
    assert {other.id for token in tokens for other in token.alternatives} == set(range(10))


def test_no_ids_are_explained_by_nothing(model: GPT) -> None:
    assert explain_ids(model, [], PIECES) == []


def test_top_below_one_is_refused(model: GPT) -> None:
    with pytest.raises(ConfigError, match="top is 0 but must be at least 1"):
        explain_ids(model, IDS, PIECES, top=0)


def test_an_unknown_id_is_refused(model: GPT) -> None:
    with pytest.raises(DataError, match="text 0 holds the id 80"):
        explain_ids(model, [80], PIECES)
