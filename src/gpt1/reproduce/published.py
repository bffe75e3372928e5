"""What the tutorial prints for the released weights: the values ours stand beside."""

from __future__ import annotations

from dataclasses import dataclass

from gpt1.config import GPTConfig

SENTENCE = "Hello, my dog is cute and"
TOTAL_IDS = 20
"""Length of the greedy text, the sentence included."""
JOKE_START, JOKE_END = "Why can't Barbie get pregnant?", "Heyooooooo"

LOGITS_TOLERANCE = 1e-3
"""Printed to 4 places; float32 sums of twelve blocks differ in the last digits by machine."""
PRINTED_TOLERANCE = 1e-4
"""Printed to 4 places, of a value that is small or a mean."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Expected values of one model.

    Attributes:
        config: Its shape; dropout and initialisation apart.
        parameters: Trainable numbers.
        sentence_ids: Of `SENTENCE`.
        first_logits: The first three in the first position.
        last_logits: The first three in the last position.
        first_probability: Of the most likely next token.
        greedy_ids: The continuation to `TOTAL_IDS`.
        loss: With labels = inputs, nats per token.
        joke_ids: Number of ids of the example joke with its end marker.
        marker_ids: Number of ids of the end marker alone.
    """

    config: GPTConfig
    parameters: int
    sentence_ids: list[int]
    first_logits: list[float]
    last_logits: list[float]
    first_probability: float
    greedy_ids: list[int]
    loss: float
    joke_ids: int
    marker_ids: int

    def applies_to(self, config: GPTConfig) -> bool:
        """Whether a model has this shape; its weights may still be others, and then it fails."""
        names = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "afn")
        return all(getattr(self.config, name) == getattr(config, name) for name in names)


RELEASED = Published(
    config=GPTConfig(),
    parameters=116_534_784,
    sentence_ids=[3570, 240, 547, 2585, 544, 4957, 488],
    first_logits=[-5.9486, -5.8697, -18.4258],
    last_logits=[-7.7240, -7.3631, -17.3174],
    first_probability=0.1898,
    greedy_ids=[249, 719, 797, 485, 921, 575, 562, 246, 1671, 239, 244, 40477, 244],
    loss=4.2607,
    joke_ids=30,
    marker_ids=8,
)
"""`openai-community/openai-gpt`."""
