"""Learning-rate schedules: values by hand at the first, warm-up, middle and last update."""

from __future__ import annotations

from typing import Any

import pytest

from gpt1.config import ScheduleConfig
from gpt1.training.schedule import lr_factor, warmup_steps

# 110 updates of which 10 warm up: update 61 is half-way down, update 86 three quarters.
VALUES = [
    ("linear", 0.0, {1: 0.1, 5: 0.5, 10: 1.0, 11: 1.0, 12: 0.99, 61: 0.5, 86: 0.25, 110: 0.01}),
    ("linear", 0.2, {1: 0.1, 10: 1.0, 61: 0.6, 86: 0.4, 110: 0.208}),
    ("cosine", 0.0, {1: 0.1, 10: 1.0, 61: 0.5, 86: 0.14644660940672624, 110: 0.0002467198171342}),
    ("cosine", 0.1, {5: 0.5, 10: 1.0, 61: 0.55, 110: 0.10022204783542}),
    ("constant", 0.0, {1: 0.1, 5: 0.5, 10: 1.0, 11: 1.0, 60: 1.0, 110: 1.0}),
    # x = 0, 5, 10, 55 and 109 of 110 updates done: min(x / 10, 1) * (1 - x / 110)
    ("openai", 0.0, {1: 0.0, 6: 0.4772727272727, 11: 0.9090909090909, 56: 0.5, 110: 1 / 110}),
]


@pytest.mark.parametrize(("name", "final", "factors"), VALUES)
def test_the_rate_rises_to_its_peak_and_falls_as_named(
    name: Any, final: float, factors: dict[int, float]
) -> None:
    schedule = ScheduleConfig(name=name, warmup_steps=10, final_fraction=final)
    for step, factor in factors.items():
        assert lr_factor(step, 110, schedule) == pytest.approx(factor, abs=1e-12), step


@pytest.mark.parametrize(
    ("name", "factors"), [("linear", [1.0, 0.75, 0.5, 0.25]), ("constant", [1.0] * 4)]
)
def test_without_warm_up_the_first_update_has_the_peak(name: Any, factors: list[float]) -> None:
    schedule = ScheduleConfig(name=name, warmup_steps=0)
    assert [lr_factor(step, 4, schedule) for step in (1, 2, 3, 4)] == factors


def test_a_run_shorter_than_its_warm_up_never_reaches_the_peak() -> None:
    schedule = ScheduleConfig(warmup_steps=10)
    assert [lr_factor(step, 4, schedule) for step in (1, 4)] == [0.1, 0.4]


def test_the_released_schedule_may_warm_up_for_less_than_an_update() -> None:
    # 0.2% of 100 updates: x / 0.002 reaches 1 within the first; GPT-1's code on RTE and MRPC.
    schedule = ScheduleConfig(name="openai", warmup_fraction=0.002)
    factors = [lr_factor(step, 100, schedule) for step in (1, 2, 100)]
    assert factors == pytest.approx([0.0, 0.99, 0.01], abs=1e-12)
    # x / 0.002 below 1 for one update more: x = 1 of 1,000 is half way up.
    assert lr_factor(2, 1_000, schedule) == pytest.approx(0.5 * 0.999)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"warmup_fraction": 0.02}, 20),
        ({"warmup_fraction": 0.0}, 0),
        ({"warmup_fraction": 0.0004}, 0),
        ({"warmup_fraction": 0.0006}, 1),
        ({"warmup_steps": 7, "warmup_fraction": 0.5}, 7),
        ({"warmup_steps": 0, "warmup_fraction": 0.5}, 0),
    ],
)
def test_warm_up_is_a_number_of_updates_or_a_share_of_the_run(
    settings: dict[str, Any], steps: int
) -> None:
    assert warmup_steps(ScheduleConfig(**settings), 1_000) == steps
