"""What a model expected in each place of a text: probability, rank and alternatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gpt1.errors import ConfigError
from gpt1.evaluation.scoring import Window, hidden_states, windows
from gpt1.generation.decode import check_ids
from gpt1.model import GPT

ROWS_AT_ONCE = 64
"""Positions whose logits over the whole vocabulary exist at the same time."""


class Alternative(NamedTuple):
    """A token the model could have put in a place, and how probable it was."""

    id: int
    piece: str
    probability: float


@dataclass(frozen=True)
class TokenExplanation:
    """What the model expected in one place of a text.

    Attributes:
        position: Of the token in the text, from 0.
        id: The token that is there.
        piece: Its raw vocabulary string.
        probability: Of the token given those before it; None for the first.
        rank: 1 if no token was more probable; None for the first.
        alternatives: The most probable tokens, most probable first; empty for the first.
    """

    position: int
    id: int
    piece: str
    probability: float | None
    rank: int | None
    alternatives: list[Alternative]


def explain_ids(
    model: GPT, ids: Sequence[int], pieces: Sequence[str], top: int = 5
) -> list[TokenExplanation]:
    """What the model expected in each place of a text.

    Args:
        model: Any device, any dtype.
        ids: Token ids of the text.
        pieces: Raw vocabulary string of every id; ids beyond them are not offered.
        top: Alternatives a place, at least 1.

    Returns:
        One entry a token.

    Raises:
        DataError: If an id is outside the vocabulary.
        ConfigError: If ``top`` is below 1.
    """
    if top < 1:
        raise ConfigError(f"top is {top} but must be at least 1")
    check_ids("text", [ids], min(model.config.vocab_size, len(pieces)))
    rows = [TokenExplanation(0, token, pieces[token], None, None, []) for token in ids[:1]]
    for window in windows(0, len(ids), model.config.n_positions):
        for log_probs in _window_log_probs(model, ids, window, len(pieces)):
            rows.append(_explained(len(rows), ids[len(rows)], log_probs, pieces, top))
    return rows


@torch.inference_mode()
def _window_log_probs(
    model: GPT, ids: Sequence[int], window: Window, vocab_size: int
) -> Iterator[Tensor]:
    """``(V,)`` log-probabilities for each scored token of a window."""
    states = hidden_states(model, [ids[window.start : window.end - 1]])[0]
    for chunk in states[window.first - 1 - window.start :].split(ROWS_AT_ONCE):  # type: ignore[no-untyped-call]
        yield from model.lm_head(chunk).float().log_softmax(-1)[:, :vocab_size]


def _explained(
    position: int, token: int, log_probs: Tensor, pieces: Sequence[str], top: int
) -> TokenExplanation:
    best = log_probs.topk(min(top, len(log_probs)))
    pairs = zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
    return TokenExplanation(
        position=position,
        id=token,
        piece=pieces[token],
        probability=float(log_probs[token].exp()),
        rank=int((log_probs > log_probs[token]).sum()) + 1,
        alternatives=[
            Alternative(other, pieces[other], probability) for other, probability in pairs
        ],
    )
