"""Tokens drawn in C++ are those that NumPy draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.generation import sampling
from gpt1.generation.processors import filtered
from gpt1.native import sampling as native
from gpt1.native.library import KERNELS, kernels

pytestmark = pytest.mark.skipif(not kernels(), reason="the C++ library was not built")

INSTRUCTIONS = [name for name in KERNELS if kernels() and kernels(name)]


@pytest.fixture(params=INSTRUCTIONS)
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "kernels", lambda: request.param)


def plain(
    scores: NDArray[np.float32], config: GenerationConfig, uniforms: list[float]
) -> list[int]:
    return sampling.draw(filtered(scores.astype(np.float64), config), uniforms)


def random_scores(seed: int, rows: int, count: int, kind: str) -> NDArray[np.float32]:
    source = np.random.default_rng(seed)
    scores = source.normal(0, 4, (rows, count))
    if kind == "ties":
        scores = scores.round()
    if kind == "forbidden":
        scores[source.random(scores.shape) < 0.7] = -np.inf
        scores[:, source.integers(count)] = 0.5
    if kind == "flat":
        scores *= 1e-3
    if kind == "wide":
        scores *= 100
    return scores.astype(np.float32)


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 9),
    count=st.integers(1, 3000),
    kind=st.sampled_from(["plain", "ties", "forbidden", "flat", "wide"]),
    temperature=st.none() | st.floats(0.05, 5) | st.sampled_from([1e-320, 1e-9, 1e30]),
    top_k=st.none() | st.integers(1, 100),
    top_p=st.none() | st.floats(0.001, 1) | st.just(1 - 1e-12),
    min_p=st.none() | st.floats(0, 1),
)
def test_what_is_drawn_is_what_numpy_draws(
    seed: int, rows: int, count: int, kind: str, **options: Any
) -> None:
    config = GenerationConfig(**options)
    scores = random_scores(seed, rows, count, kind)
    uniforms = np.random.default_rng(seed).random(rows).tolist()
    expected = plain(scores, config, uniforms)
    drawn = native.draw(scores, config, uniforms)
    assert drawn is not None
    for token, other in zip(drawn, expected, strict=True):
        assert token in (other, native.UNDECIDED)
    assert sampling.sample(scores, config, uniforms) == expected


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 40},
        {"temperature": 1.3, "top_p": 0.9},
        {"top_k": 500, "top_p": 0.8, "min_p": 0.01},
        {"min_p": 0.05},
    ],
)
@pytest.mark.parametrize("kind", ["plain", "flat", "forbidden"])
def test_nearly_all_rows_of_a_real_vocabulary_are_decided(
    kind: str, options: dict[str, Any]
) -> None:
    config = GenerationConfig(**options)
    scores = random_scores(1, 16, 40_478, kind)
    uniforms = np.random.default_rng(1).random(16).tolist()
    drawn = native.draw(scores, config, uniforms)
    assert drawn == plain(scores, config, uniforms)


def test_a_draw_at_the_edge_of_two_tokens_is_left_to_numpy() -> None:
    scores = np.zeros((1, 4), np.float32)
    assert native.draw(scores, GenerationConfig(temperature=1.0), [0.5]) == [native.UNDECIDED]
    assert native.draw(scores, GenerationConfig(temperature=1.0), [0.51]) == [2]
    config = GenerationConfig(top_p=0.5)
    assert native.draw(scores, config, [0.1]) == [native.UNDECIDED]
    assert sampling.sample(scores, config, [0.1]) == plain(scores, config, [0.1])
    assert native.draw(scores, GenerationConfig(min_p=1.0), [0.1]) == [native.UNDECIDED]


def test_tokens_come_as_often_as_their_probability_says() -> None:
    scores = np.log(np.array([[1, 2, 3, 4]], np.float32).repeat(20_000, 0))
    uniforms = np.random.default_rng(3).random(len(scores)).tolist()
    tokens = sampling.sample(scores, GenerationConfig(temperature=1.0), uniforms)
    counts = np.bincount(tokens, minlength=4)
    expected = np.array([0.1, 0.2, 0.3, 0.4]) * len(scores)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < 16.3  # chi-squared with 3 degrees of freedom: 1 in 1,000 is higher
    assert math.isclose(counts.sum(), len(scores))


def test_what_the_library_does_not_know_is_left_to_numpy() -> None:
    scores = random_scores(1, 3, 50, "plain")
    config = GenerationConfig(typical_p=0.5)
    assert native.draw(scores, config, [0.1, 0.5, 0.9]) is None
    assert native.draw(scores.astype(np.float64), GenerationConfig(temperature=1.0), [0.1]) is None
    assert sampling.sample(scores, config, [0.1, 0.5, 0.9]) == plain(
        scores, config, [0.1, 0.5, 0.9]
    )
