"""A part of the examples set aside."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1.errors import ConfigError, DataError
from gpt1.tasks.example import Label, text
from gpt1.tasks.reading import Examples
from gpt1.tasks.splitting import split_examples


def examples(labels: list[Label | None]) -> Examples:
    names = [str(number) for number in range(len(labels))]
    return Examples(
        "train", [text(n, label) for n, label in zip(names, labels, strict=True)], names
    )


@settings(deadline=None)
@given(
    labels=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_every_class_has_its_share_on_both_sides(
    labels: list[Label | None], fraction: float, seed: int
) -> None:
    whole = examples(labels)
    train, dev = split_examples(whole, fraction, seed)
    assert sorted([*train.ids, *dev.ids], key=int) == whole.ids
    assert len(dev) == min(max(round(len(labels) * fraction), 1), len(labels) - 1)
    assert train.ids == sorted(train.ids, key=int)
    assert (train.split, dev.split) == ("train", "dev")
    counts = Counter(example.label for example in dev.examples)
    for label, count in Counter(labels).items():
        assert abs(counts[label] - count * len(dev) / len(labels)) < 1


def test_a_split_is_random_but_given_by_its_seed() -> None:
    whole = examples(list(np.arange(100) % 2))
    parts = [split_examples(whole, 0.2, seed)[1].ids for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_values_are_spread_over_their_range() -> None:
    values = np.random.default_rng(0).uniform(0, 5, 1_000)
    _, dev = split_examples(examples(values.tolist()), 0.1, 0)
    found = sorted(float(example.label or 0) for example in dev.examples)
    assert np.allclose(found, np.linspace(0.025, 4.975, 100), atol=0.2)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5, -0.1])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction: float) -> None:
    problem = rf"the fraction to validate with is {fraction} but must be in \(0, 1\)"
    with pytest.raises(ConfigError, match=problem):
        split_examples(examples(["a", "b"]), fraction, 0)


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(DataError, match="cannot split 1 example; it takes at least 2"):
        split_examples(examples(["a"]), 0.5, 0)
