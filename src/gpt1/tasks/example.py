"""Labelled examples as text, in the four layouts of the paper (GPT-1 section 3.3, figure 1).

With S start, D delimiter and E extract (``_classify_``), the model reads

    text        S text E
    pair        S first D second E
    similarity  S first D second E  and  S second D first E; their two vectors are added
    choice      S context D option E  for each option; softmax over their scores

An example holds text only. Tokens, truncation and batches are made of it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gpt1.errors import DataError

Layout: TypeAlias = Literal["text", "pair", "similarity", "choice"]
"""How an example becomes sequences of tokens."""

Label: TypeAlias = "str | int | float"
"""A class (string or whole number), a value to predict (float), or the number of the right option
of a choice, from 0."""


@dataclass(frozen=True)
class Example:
    """One example; made by `text`, `pair`, `similarity` or `choice`.

    Attributes:
        layout: How it becomes sequences.
        segments: What stands between special tokens, each as one or more parts that follow one
            another with nothing between. Of a choice: the context, then the options.
        label: The answer, or None where it is not known.
    """

    layout: Layout
    segments: tuple[tuple[str, ...], ...]
    label: Label | None = None


def text(text: str, label: Label | None = None) -> Example:
    """One text to classify, or to predict a value for: ``S text E``."""
    return Example("text", ((text,),), label)


def pair(first: str, second: str, label: Label | None = None) -> Example:
    """Two texts in an order that matters, as in entailment: ``S first D second E``."""
    return Example("pair", ((first,), (second,)), label)


def similarity(first: str, second: str, label: Label | None = None) -> Example:
    """Two texts in no order: the model reads both orders and adds what it makes of them."""
    return Example("similarity", ((first,), (second,)), label)


def choice(
    context: str | Sequence[str], options: Sequence[str], label: int | None = None
) -> Example:
    """Options to choose from, given a context: ``S context D option E`` for each.

    Args:
        context: Text, or several parts of it, for example a passage and a question.
        options: At least two.
        label: Number of the right option, from 0.

    Raises:
        DataError: If there are fewer than two options, or none has the number ``label``.
    """
    parts = (context,) if isinstance(context, str) else tuple(context)
    if len(options) < 2:
        raise DataError(f"a choice has {len(options)} options but needs at least 2")
    if label is not None and not 0 <= label < len(options):
        raise DataError(
            f"the label of a choice is {label!r} but must be the number of an option, "
            f"0 to {len(options) - 1}"
        )
    return Example("choice", (parts, *((option,) for option in options)), label)
