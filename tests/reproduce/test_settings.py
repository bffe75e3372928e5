"""Settings of the walk."""

from __future__ import annotations

import pytest

from gpt1.errors import ConfigError
from gpt1.reproduce.settings import FULL_EPOCHS, QUICK_EPOCHS, QUICK_TEXTS, SeedConfig


def test_quick_means_fewer_jokes_and_epochs() -> None:
    assert (SeedConfig().passes, SeedConfig().max_texts) == (FULL_EPOCHS, None)
    quick = SeedConfig(quick=True)
    assert (quick.passes, quick.max_texts) == (QUICK_EPOCHS, QUICK_TEXTS)
    assert SeedConfig(quick=True, epochs=3).passes == 3


def test_the_help_says_what_quick_is() -> None:
    from gpt1.cli.arguments import field_documents

    assert (
        f"first {QUICK_TEXTS} jokes, for {QUICK_EPOCHS} epoch"
        in (field_documents(SeedConfig)["quick"])
    )
    assert f"Default: {FULL_EPOCHS}," in field_documents(SeedConfig)["epochs"]


@pytest.mark.parametrize("name", ["epochs", "max_steps", "batch_size"])
def test_a_run_needs_at_least_one_of_each(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0 but must be at least 1"):
        SeedConfig(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_a_learning_rate_is_positive(lr: float) -> None:
    with pytest.raises(ConfigError, match=r"lr is .* but must be more than 0"):
        SeedConfig(lr=lr)
