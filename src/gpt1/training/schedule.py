"""Learning-rate schedules: a warm-up, then linear, cosine or constant (GPT-1 section 4.1)."""

from __future__ import annotations

import math

from gpt1.config import ScheduleConfig


def warmup_steps(config: ScheduleConfig, total_steps: int) -> int:
    """Updates of the warm-up.

    Args:
        config: The schedule.
        total_steps: Updates in the whole run.

    Returns:
        ``config.warmup_steps`` where it is given, else its share of the run, rounded.
    """
    if config.warmup_steps is not None:
        return config.warmup_steps
    return round(config.warmup_fraction * total_steps)


def lr_factor(step: int, total_steps: int, config: ScheduleConfig) -> float:
    """Share of the peak learning rate that one update uses.

    Args:
        step: Number of the update, from 1 to ``total_steps``.
        total_steps: Updates in the whole run.
        config: The schedule.

    Returns:
        Between 0 and 1: ``step / warmup`` up to the peak at the end of the warm-up; then, unless
        constant, down to ``config.final_fraction``, which the update after the last would have.
        "openai" counts the updates done before, x of them: ``x / warmup`` up to 1, times what is
        left of the run, ``1 - x / total_steps`` (GPT-1's released code).
    """
    if config.name == "openai":
        return _released_factor(step - 1, total_steps, config)
    warmup = warmup_steps(config, total_steps)
    if step <= warmup:
        return step / warmup
    if config.name == "constant":
        return 1.0
    progress = (step - 1 - warmup) / (total_steps - warmup)
    fall = (1 + math.cos(math.pi * progress)) / 2 if config.name == "cosine" else 1 - progress
    return config.final_fraction + (1 - config.final_fraction) * fall


def _released_factor(done: int, total_steps: int, config: ScheduleConfig) -> float:
    """The factor by the updates done; here a warm-up may be shorter than one update."""
    warmup = config.warmup_steps
    if warmup is None:
        rise = done / (config.warmup_fraction * total_steps) if config.warmup_fraction else 1.0
    else:
        rise = done / warmup if warmup else 1.0
    return min(1.0, rise) * (1 - done / total_steps)
