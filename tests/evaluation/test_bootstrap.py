"""Resampling against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from gpt1.evaluation import bootstrap
from gpt1.evaluation.bootstrap import RESAMPLES, interval, resampled_sums

TABLE = np.random.default_rng(1).gamma(2.0, size=(50, 2))


def test_the_interval_of_a_ratio_is_that_of_scipy() -> None:
    expected = scipy.stats.bootstrap(
        tuple(TABLE.T),
        lambda above, below, axis: above.sum(axis) / below.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    above, below = resampled_sums(TABLE, seed=3).T
    assert interval(above / below) == pytest.approx(tuple(expected))


def test_few_draws_at_once_give_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = resampled_sums(TABLE)
    for at_once in (1, 170):
        monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", at_once)
        np.testing.assert_allclose(resampled_sums(TABLE), expected)


def test_the_seed_decides() -> None:
    assert (resampled_sums(TABLE, 1) == resampled_sums(TABLE, 1)).all()
    assert (resampled_sums(TABLE, 1) != resampled_sums(TABLE, 2)).any()


def test_the_spread_of_the_mean_is_its_standard_error() -> None:
    means = resampled_sums(TABLE)[:, 0] / len(TABLE)
    error = TABLE[:, 0].std() / np.sqrt(len(TABLE))
    assert means.shape == (RESAMPLES,)
    assert means.std() == pytest.approx(error, rel=0.05)
