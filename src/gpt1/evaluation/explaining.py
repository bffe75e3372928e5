"""What a model expected in each place of a text, and how it came to expect it.

Surprisal is in bits, ``-log2 p``: a token of 3 bits was as surprising as three fair coins that all
show heads. Losses elsewhere are in nats; a bit is ``ln 2``, about 0.693, of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.atomic import write_text_atomic
from gpt1.backbone import evaluation_mode
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.explanation_page import html_page
from gpt1.evaluation.scoring import Window, checked_stride, hidden_states, windows
from gpt1.generation.decode import check_ids
from gpt1.model import GPT, GPTOutput
from gpt1.text.detokenize import END_OF_WORD
from gpt1.tokenizer import Tokenizer

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
        text: What it adds to the readable text, a space before it included.
        probability: Of the token given those before it; None for the first.
        surprisal: ``-log2`` of the probability, in bits; None for the first.
        rank: 1 if no token was more probable; None for the first.
        alternatives: The most probable tokens, most probable first; empty for the first.
    """

    position: int
    id: int
    piece: str
    text: str
    probability: float | None
    surprisal: float | None
    rank: int | None
    alternatives: list[Alternative]


class Explanation(Sequence[TokenExplanation]):
    """What the model expected in each place of a text: a sequence with an entry a token.

    `next`, `lens` and `attentions` are computed when first asked for, by the model as it is then.

    Args:
        model: The one that was asked.
        tokenizer: Of the model.
        tokens: An entry for each token.
        top: Alternatives a place.
    """

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, tokens: list[TokenExplanation], top: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._top = top

    def __len__(self) -> int:
        return len(self._tokens)

    @overload
    def __getitem__(self, index: int) -> TokenExplanation: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenExplanation]: ...
    def __getitem__(self, index: int | slice) -> TokenExplanation | list[TokenExplanation]:
        return self._tokens[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Explanation) and self._tokens == other._tokens

    def __repr__(self) -> str:
        return f"Explanation({self._tokens!r})"

    @property
    def text(self) -> str:
        """The text as the model read it."""
        return "".join(token.text for token in self._tokens)

    @property
    def bits_per_token(self) -> float | None:
        """Mean surprisal of all tokens but the first; None below two tokens."""
        surprisals = [token.surprisal for token in self._tokens if token.surprisal is not None]
        return math.fsum(surprisals) / len(surprisals) if surprisals else None

    @cached_property
    def next(self) -> list[Alternative]:
        """The tokens most likely to follow the text; empty for an empty text.

        Of a text longer than ``n_positions`` the last ``n_positions`` tokens are read.
        """
        window = self.last_window()
        if not len(window):
            return []
        [log_probs] = _log_probs(self._model, window._states[-1][-1:], self._tokenizer.vocab_size)
        return _best(log_probs[0], self._pieces, self._top)

    @cached_property
    def lens(self) -> list[list[Alternative]]:
        """The logit lens: what each layer would put behind each token, were it the last layer.

        The hidden states of every layer go through the output matrix, which is the token table.
        GPT-1 has no layer norm behind its last block, so none is applied: ``lens[0]`` is of the
        embeddings, ``lens[n]`` of the output of block n, and ``lens[n_layer]`` is what the model
        itself expects. Entry ``[n][t]`` is the most probable token behind token t.

        Raises:
            DataError: If the text has no tokens, or more than ``n_positions``.
        """
        self._check_one_pass()
        return [self._best_of_layer(states) for states in self._states]

    @cached_property
    def attentions(self) -> NDArray[np.float32]:
        """Attention weights ``(n_layer, n_head, T, T)``: row t sums to 1 over the tokens up to t.

        Raises:
            DataError: If the text has no tokens, or more than ``n_positions``.
        """
        self._check_one_pass()
        maps = self._read(output_attentions=True).attentions or ()
        return np.stack([layer[0].float().cpu().numpy() for layer in maps])

    def last_window(self) -> Explanation:
        """The last ``n_positions`` tokens explained as a text of their own, or all if they fit."""
        limit = self._model.config.n_positions
        if len(self) <= limit:
            return self
        ids = [token.id for token in self._tokens[-limit:]]
        return explain_ids(self._model, ids, self._tokenizer, self._top)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: all but the lens and the attention maps, which are large."""
        return {
            "text": self.text,
            "bits_per_token": self.bits_per_token,
            "tokens": [
                {**vars(token), "alternatives": [other._asdict() for other in token.alternatives]}
                for token in self._tokens
            ],
            "next": [other._asdict() for other in self.next],
        }

    def save_html(self, path: str | Path, *, title: str | None = None) -> None:
        """Write one HTML file with all of it, to hover over; of a long text, of `last_window`.

        Args:
            path: The file; its folder must exist.
            title: Heading of the page.

        Raises:
            DataError: If the text has no tokens.
            CheckpointError: If the file cannot be written.
        """
        write_text_atomic(path, html_page(self, title))

    @cached_property
    def _pieces(self) -> list[str]:
        return self._tokenizer.pieces(range(self._tokenizer.vocab_size))

    def _best_of_layer(self, states: Tensor) -> list[Alternative]:
        best: list[Alternative] = []
        for log_probs in _log_probs(self._model, states, self._tokenizer.vocab_size):
            found = log_probs.max(-1)
            pairs = zip(found.indices.tolist(), found.values.exp().tolist(), strict=True)
            best += [Alternative(token, self._pieces[token], p) for token, p in pairs]
        return best

    @cached_property
    def _states(self) -> list[Tensor]:
        """The embeddings and the output of each block, ``(T, D)``."""
        return [x[0] for x in self._read(output_hidden_states=True).hidden_states or ()]

    @torch.inference_mode()
    def _read(self, **wanted: bool) -> GPTOutput:
        """One pass over the text; of the logits, which are large, only the last."""
        ids = torch.tensor([[token.id for token in self._tokens]], device=self._model.device)
        last = torch.tensor([len(self) - 1], device=self._model.device)
        with evaluation_mode(self._model):
            return self._model(ids, logits_at=last, **wanted)  # type: ignore[no-any-return]

    def _check_one_pass(self) -> None:
        limit = self._model.config.n_positions
        if not 1 <= len(self) <= limit:
            raise DataError(
                f"the text has {len(self)} tokens, but attention maps and the logit lens are of "
                f"one pass over 1 to {limit}; explain a part of the text, or ask last_window()"
            )


def explain_ids(model: GPT, ids: Sequence[int], tokenizer: Tokenizer, top: int = 5) -> Explanation:
    """What the model expected in each place of a text.

    Args:
        model: Any device, any dtype.
        ids: Token ids of the text; one longer than ``n_positions + 1`` is read in overlapping
            windows (see `gpt1.evaluation.scoring`).
        tokenizer: Of the model; ids it does not have are not offered as alternatives.
        top: Alternatives a place, at least 1.

    Returns:
        One entry a token, and what else there is to see.

    Raises:
        DataError: If an id is outside the vocabulary.
        ConfigError: If ``top`` is below 1.
    """
    if top < 1:
        raise ConfigError(f"top is {top} but must be at least 1")
    vocab_size = tokenizer.vocab_size
    check_ids("text", [ids], min(model.config.vocab_size, vocab_size))
    pieces = tokenizer.pieces(range(vocab_size))
    texts = token_texts(tokenizer, ids)
    rows: list[TokenExplanation] = []
    for token, text, log_probs in zip(
        ids, texts, _expectations(model, ids, vocab_size), strict=True
    ):
        found = (
            (None, None, None, []) if log_probs is None else _found(token, log_probs, pieces, top)
        )
        rows.append(TokenExplanation(len(rows), token, pieces[token], text, *found))
    return Explanation(model, tokenizer, rows, top)


def _expectations(model: GPT, ids: Sequence[int], vocab_size: int) -> Iterator[Tensor | None]:
    """``(V,)`` log-probabilities for the place of each token; None for the first."""
    if ids:
        yield None
    limit = model.config.n_positions
    for window in windows(0, len(ids), limit, checked_stride(None, limit)):
        for log_probs in _log_probs(model, _states_of_window(model, ids, window), vocab_size):
            yield from log_probs


@torch.inference_mode()
def _states_of_window(model: GPT, ids: Sequence[int], window: Window) -> Tensor:
    """``(n, D)``, what the scored tokens of a window are predicted from."""
    states = hidden_states(model, [ids[window.start : window.end - 1]])[0]
    return states[window.first - 1 - window.start :]


@torch.inference_mode()
def _log_probs(model: GPT, states: Tensor, vocab_size: int) -> Iterator[Tensor]:
    """``(rows, V)`` log-probabilities, in nats, for the rows of ``(n, D)``, some at a time."""
    for chunk in states.split(ROWS_AT_ONCE):  # type: ignore[no-untyped-call]
        yield model.lm_head(chunk).float().log_softmax(-1)[:, :vocab_size]


def _found(
    token: int, log_probs: Tensor, pieces: Sequence[str], top: int
) -> tuple[float, float, int, list[Alternative]]:
    """Probability, surprisal and rank of a token, and the most probable ones."""
    log_prob = float(log_probs[token])
    rank = int((log_probs > log_probs[token]).sum()) + 1
    return math.exp(log_prob), abs(log_prob) / math.log(2), rank, _best(log_probs, pieces, top)


def _best(log_probs: Tensor, pieces: Sequence[str], top: int) -> list[Alternative]:
    best = log_probs.topk(min(top, len(log_probs)))
    pairs = zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
    return [Alternative(token, pieces[token], probability) for token, probability in pairs]


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What each token adds to the readable text, a space before it included.

    Args:
        tokenizer: Names the tokens.
        ids: Token ids of a text.

    Returns:
        A string for each; joined, they are the text with its special tokens.
    """
    text = tokenizer.decode(ids, skip_special=False)
    parts: list[str] = []
    start = 0
    for piece in tokenizer.pieces(ids):
        word = piece.removesuffix(END_OF_WORD)
        end = text.index(word, start) + len(word)
        parts.append(text[start:end])
        start = end
    return parts
