"""A part of the examples set aside, of the same mixture of labels as the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gpt1.errors import ConfigError, DataError
from gpt1.tasks.example import Label
from gpt1.tasks.reading import Examples


def split_examples(examples: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Set a part of the examples aside, to validate with.

    The examples are shuffled, sorted by label, and taken at equal distances: so each class, and
    each range of values, has its share in the part, to within one example.

    Args:
        examples: At least two.
        fraction: Share of the part, between 0 and 1; at least one example is on each side.
        seed: Of the shuffle.

    Returns:
        The rest, and the part, called "dev"; both in the order of ``examples``.

    Raises:
        ConfigError: If the fraction is not between 0 and 1.
        DataError: If there are fewer than two examples.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the fraction to validate with is {fraction} but must be in (0, 1)")
    total = len(examples)
    if total < 2:
        raise DataError(f"cannot split {total} example{'s' * (total != 1)}; it takes at least 2")
    size = min(max(round(total * fraction), 1), total - 1)
    order = np.random.default_rng(seed).permutation(total).tolist()
    by_label = sorted(order, key=lambda number: _by_value(examples.examples[number].label))
    chosen = {by_label[int((n + 0.5) * total / size)] for n in range(size)}
    rest = [number for number in range(total) if number not in chosen]
    return examples.select(rest), replace(examples.select(sorted(chosen)), split="dev")


def _by_value(label: Label | None) -> tuple[str, float]:
    return (str(label), 0.0) if label is None or isinstance(label, str) else ("", float(label))
