"""Draws are exact, fair and repeatable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.generation import sampling
from gpt1.generation.processors import filtered, softmax


def log(*probs: float) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.log(np.array([probs]))


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 1), (0.24, 1), (0.26, 2), (0.49, 2), (0.51, 4), (1 - 2**-53, 4)]
)
def test_draw_inverts_the_cumulated_probabilities(uniform: float, token: int) -> None:
    logits = log(0.0, 0.25, 0.25, 0.0, 0.5, 0.0)
    assert sampling.draw(logits, [uniform]) == [token]


def test_draw_takes_each_row_by_its_own_number() -> None:
    logits = np.repeat(log(0.5, 0.5), 3, axis=0)
    assert sampling.draw(logits, [0.1, 0.9, 0.2]) == [0, 1, 0]


def test_evenly_spread_numbers_draw_each_token_as_often_as_it_is_probable() -> None:
    logits = np.random.default_rng(1).standard_normal((1, 8))
    count = 20_000
    evenly = [(i + 0.5) / count for i in range(count)]
    shares = np.bincount(sampling.draw(logits.repeat(count, 0), evenly), minlength=8) / count
    np.testing.assert_allclose(shares, softmax(logits)[0], rtol=0, atol=1 / count)


def test_draws_are_those_of_all_probabilities_added_up() -> None:
    source = np.random.default_rng(3)
    logits = source.standard_normal((500, 200)) * 3
    logits[::2] = np.where(source.random((250, 200)) < 0.9, -np.inf, logits[::2])
    uniforms = source.random(500)
    cumulated = softmax(logits).cumsum(-1)
    expected = (cumulated <= (uniforms * cumulated[:, -1])[:, None]).sum(-1)
    assert sampling.draw(logits, uniforms.tolist()) == expected.tolist()


def test_the_highest_number_draws_the_last_token_there_is() -> None:
    for rest in range(1, 40):
        logits = log(*[0.1] * rest, 0.0)
        assert sampling.draw(logits, [1 - 2**-53]) == [rest - 1]


PROBS = (0.30, 0.22, 0.15, 0.11, 0.08, 0.06, 0.04, 0.02, 0.015, 0.005)
DRAWS = 100_000

QUANTILES = (0.0, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88)
"""Of the chi-square distribution with 0 to 9 degrees of freedom, at 0.999."""


@pytest.fixture(scope="module")
def uniforms() -> list[float]:
    """The first number of so many continuations of one prompt."""
    return [sampling.random_source(0, [1, 2, 3], i).random() for i in range(DRAWS)]


@pytest.mark.parametrize(
    ("how", "weights"),
    [
        ({"temperature": 1.0}, PROBS),
        ({"temperature": 0.5}, [p**2 for p in PROBS]),
        ({"temperature": 2.0}, [p**0.5 for p in PROBS]),
        ({"top_k": 4}, PROBS[:4]),
        ({"top_p": 0.75}, PROBS[:4]),  # the first four have 0.78, three have 0.67
        ({"min_p": 0.19}, PROBS[:6]),  # 0.06 is 0.2 of 0.30
        ({"typical_p": 0.4}, [0, *PROBS[1:4]]),  # the entropy is the surprise of 0.151
        ({"temperature": 0.5, "top_k": 8, "top_p": 0.9, "min_p": 0.2}, [p**2 for p in PROBS[:3]]),
    ],
    ids=str,
)
def test_draws_follow_the_distribution(
    uniforms: list[float], how: dict[str, Any], weights: list[float]
) -> None:
    logits = filtered(log(*PROBS), GenerationConfig(**how))
    drawn = sampling.draw(np.broadcast_to(logits, (DRAWS, len(PROBS))), uniforms)
    observed = np.bincount(drawn, minlength=len(PROBS))
    expected = np.zeros(len(PROBS))
    expected[: len(weights)] = np.array(weights) / sum(weights) * DRAWS
    possible = expected > 0
    assert not observed[~possible].any()
    statistic = ((observed - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < QUANTILES[possible.sum() - 1]


def test_random_numbers_are_the_same_on_every_machine() -> None:
    source = sampling.random_source(7, [3570, 240], 1)
    assert [round(source.random(), 9) for _ in range(3)] == [0.65390679, 0.36774505, 0.692255904]


@pytest.mark.parametrize("other", [(8, [1, 2], 0), (7, [1, 2], 1), (7, [1, 3], 0), (7, [12], 0)])
def test_random_numbers_differ_by_seed_prompt_and_continuation(
    other: tuple[int, list[int], int],
) -> None:
    assert sampling.random_source(7, [1, 2], 0).random() != sampling.random_source(*other).random()


def test_without_a_seed_random_numbers_differ_each_time() -> None:
    drawn = {sampling.random_source(None, [1], 0).random() for _ in range(5)}
    assert len(drawn) == 5
    assert all(math.isfinite(number) and 0 <= number < 1 for number in drawn)
