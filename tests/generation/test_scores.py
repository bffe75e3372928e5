"""From logits to the scores tokens are chosen by."""

from __future__ import annotations

import pytest
import torch

from gpt1.config import GenerationConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.generation.processors import INFINITY
from gpt1.generation.scores import Scores, check_choice

ROWS = [[1, 2], [3]]


def test_without_settings_scores_are_the_logits_in_float32() -> None:
    logits = torch.randn(2, 6, dtype=torch.bfloat16)
    scores = Scores(6, GenerationConfig())(logits, ROWS, [1, 1])
    assert torch.equal(scores, logits.float())


def test_suppressed_ids_and_those_the_settings_forbid_are_minus_infinity() -> None:
    config = GenerationConfig(stop_ids=(0,), min_new_tokens=1)
    scores = Scores(6, config, stop_ids=(2,), suppress=(4,))
    assert scores.stop_ids == {0, 2}
    inf = INFINITY
    assert scores(torch.ones(2, 6), ROWS, [1, 1]).tolist() == [
        [1, 1, 1, 1, -inf, 1],
        [-inf, 1, -inf, 1, -inf, 1],
    ]


@pytest.mark.parametrize("wrong", [-1, 6])
def test_an_unknown_stop_id_is_refused(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"stop_ids holds {wrong} but the model has 6 tokens"):
        Scores(6, GenerationConfig(stop_ids=(3, wrong)))


@pytest.mark.parametrize("value", [INFINITY, float("nan")])
def test_logits_that_are_not_numbers_are_refused(value: float) -> None:
    logits = torch.ones(2, 6)
    logits[1, 3] = value
    with pytest.raises(CheckpointError, match=r"scores are not finite numbers.*damaged"):
        Scores(6, GenerationConfig())(logits, ROWS, [1, 1])


def test_a_row_without_a_choice_is_refused() -> None:
    check_choice([0.0, -1e30])
    with pytest.raises(ConfigError, match="the settings forbid every token there is; relax"):
        check_choice([0.0, -INFINITY])
