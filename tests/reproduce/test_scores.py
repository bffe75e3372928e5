"""Spreads and comparisons, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpt1.reproduce.scores import Spread
from gpt1.reproduce.tables import sign_test


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=7))
def test_a_spread_has_the_figures_of_numpy(values: list[float]) -> None:
    found = Spread(tuple(values)).as_dict()
    assert found["median"] == pytest.approx(np.median(values))
    assert found["quartiles"] == pytest.approx(np.percentile(values, [25, 75]))
    assert (found["min"], found["max"]) == (min(values), max(values))


def test_a_spread_of_one_run_has_no_range() -> None:
    assert str(Spread((61.25,))) == "61.2"
    assert str(Spread((61.25, 60.0, 70.04))) == "61.2 (60.0 to 70.0)"


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_sign_test_is_that_of_scipy(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)
