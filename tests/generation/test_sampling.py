"""Filters equal transformers'; draws are exact and repeatable."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from gpt1.config import GenerationConfig
from gpt1.generation import sampling


@pytest.fixture(params=[0.3, 3.0, 12.0], ids=["flat", "usual", "peaked"])
def logits(request: pytest.FixtureRequest) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(6, 500, generator=generator, dtype=torch.float64) * request.param


def theirs(warper: object, logits: Tensor) -> Tensor:
    return warper(torch.zeros(len(logits), 1, dtype=torch.long), logits)  # type: ignore[operator]


@pytest.mark.parametrize("value", [0.1, 0.8, 1.0, 2.5])
def test_temperature_equals_transformers(logits: Tensor, value: float) -> None:
    expected = theirs(TemperatureLogitsWarper(value), logits)
    torch.testing.assert_close(sampling.temperature(logits, value), expected, rtol=0, atol=0)


@pytest.mark.parametrize("k", [1, 2, 40, 500])
def test_top_k_equals_transformers(logits: Tensor, k: int) -> None:
    expected = theirs(TopKLogitsWarper(k), logits)
    torch.testing.assert_close(sampling.top_k(logits, k), expected, rtol=0, atol=0)


def test_top_k_above_the_vocabulary_keeps_everything(logits: Tensor) -> None:
    torch.testing.assert_close(sampling.top_k(logits, 10**6), logits, rtol=0, atol=0)


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.95, 0.999, 1.0])
def test_top_p_equals_transformers(logits: Tensor, p: float) -> None:
    expected = theirs(TopPLogitsWarper(p), logits)
    torch.testing.assert_close(sampling.top_p(logits, p), expected, rtol=0, atol=0)


def test_top_p_equals_transformers_after_top_k(logits: Tensor) -> None:
    few = sampling.top_k(logits, 7)
    expected = theirs(TopPLogitsWarper(0.6), few)
    torch.testing.assert_close(sampling.top_p(few, 0.6), expected, rtol=0, atol=0)


def test_top_p_keeps_a_token_when_all_are_alike() -> None:
    kept = sampling.top_p(torch.zeros(1, 50, dtype=torch.float64), 1e-30).isfinite().sum()
    assert kept == 1


def test_filters_apply_in_the_order_of_transformers(logits: Tensor) -> None:
    config = GenerationConfig(temperature=0.7, top_k=20, top_p=0.8)
    expected = logits
    for warper in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.8)):
        expected = theirs(warper, expected)
    torch.testing.assert_close(sampling.filtered(logits, config), expected, rtol=0, atol=0)


def test_filters_that_are_not_set_change_nothing(logits: Tensor) -> None:
    assert sampling.filtered(logits, GenerationConfig()) is logits


def log(*probs: float) -> Tensor:
    return torch.tensor([probs], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 1), (0.24, 1), (0.26, 2), (0.49, 2), (0.51, 4), (1 - 2**-53, 4)]
)
def test_draw_inverts_the_cumulated_probabilities(uniform: float, token: int) -> None:
    logits = log(0.0, 0.25, 0.25, 0.0, 0.5, 0.0)
    assert sampling.draw(logits, [uniform]) == [token]


def test_draw_takes_each_row_by_its_own_number() -> None:
    logits = log(0.5, 0.5).repeat(3, 1)
    assert sampling.draw(logits, [0.1, 0.9, 0.2]) == [0, 1, 0]


def test_evenly_spread_numbers_draw_each_token_as_often_as_it_is_probable() -> None:
    logits = torch.randn(1, 8, generator=torch.Generator().manual_seed(1)).double()
    count = 20_000
    drawn = sampling.draw(logits.repeat(count, 1), [(i + 0.5) / count for i in range(count)])
    shares = torch.bincount(torch.tensor(drawn), minlength=8) / count
    torch.testing.assert_close(shares.double(), logits.softmax(-1)[0], rtol=0, atol=1 / count)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_tiny_temperature_draws_the_most_likely_token(dtype: torch.dtype) -> None:
    logits = sampling.temperature(torch.tensor([[1.0, 3.0, 2.0]], dtype=dtype).double(), 1e-300)
    assert sampling.draw(logits, [0.999]) == [1]


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
