"""Settings of a reproduction: defaults by the width of the model, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gpt1.errors import ConfigError
from gpt1.reproduce.paper_settings import ReproduceConfig


def test_a_model_as_wide_as_the_papers_is_trained_as_in_the_paper() -> None:
    found = ReproduceConfig(data="x").completed(768)
    assert (found.rates, found.warmup_fraction) == ((6.25e-5,), 0.002)
    assert found.beside == ("tfidf", "majority")


def test_a_narrow_model_has_a_higher_rate_and_is_compared_with_scratch() -> None:
    found = ReproduceConfig(data="x").completed(256)
    assert (found.rates, found.warmup_fraction) == ((5e-4,), 0.1)
    assert found.beside == ("scratch", "tfidf", "majority")


def test_what_is_given_is_kept() -> None:
    given = ReproduceConfig(data="x", lr_grid=(1e-4, 1e-3), warmup_fraction=0.0, beside=())
    found = given.completed(256)
    assert (found.rates, found.lr) == ((1e-4, 1e-3), None)
    assert (found.warmup_fraction, found.beside) == (0.0, ())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": ("cola", "cole")}, "there is no task 'cole'; the tasks are mnli, .*qqp"),
        ({"seeds": 0}, "seeds is 0 but must be above 0"),
        ({"subset_words": -1}, "subset_words is -1 but must be above 0"),
        ({"lr": 0.0}, "lr is 0.0 but must be above 0"),
        ({"lr_grid": (1e-3, 0.0)}, r"lr_grid is \[0.001, 0.0\] but each must be above 0"),
        ({"lr": 1e-3, "lr_grid": (1e-3,)}, "lr and lr_grid are both given; leave out one"),
        ({"subset": 5, "subset_words": 5}, "subset and subset_words are both given; leave out"),
    ],
)
def test_numbers_no_experiment_can_have_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReproduceConfig(data="x", **settings)
