"""Log-probabilities as OpenAI's completions tell them: tokens as they stand in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpt1.generation.stopping import Candidate, GeneratedToken
from gpt1.text.detokenize import END_OF_WORD
from gpt1.tokenizer import Tokenizer

LEAST = -9999.0
"""Stands for what JSON cannot say: the logarithm of 0."""


class LogprobsBuilder:
    """Finds tokens in a text that grows, and tells the scores of those that are complete in it.

    The text of a token begins with the space before it, so the texts of all make up the text. Only
    of special tokens, which are not in it, and behind a stop string, the name is told.

    Args:
        tokenizer: Of the model.
        before: The token before the text; None at the beginning of one.
    """

    def __init__(self, tokenizer: Tokenizer, before: int | None) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.special_tokens.values())
        self._before = before
        self._place = 0
        self._count = 0

    def take(
        self,
        text: str,
        ids: Sequence[int],
        scores: Sequence[GeneratedToken | None],
        *,
        ended: bool,
    ) -> dict[str, list[Any]]:
        """Tell what has not been told yet.

        Args:
            text: As far as it is final.
            ids: The tokens.
            scores: Of the tokens, as far as they are known; None of one with nothing before it.
            ended: Whether there will be no more of the text.

        Returns:
            The fields of `gpt1.serving.completion_schemas.Logprobs`.
        """
        told: dict[str, list[Any]] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token, score in zip(ids[self._count :], scores[self._count :], strict=False):
            end = self._end(text, token)
            if end is None and not ended:
                break
            name = text[self._place : end] if end else ""
            name = name or self._name(token)
            told["tokens"].append(name)
            told["text_offset"].append(self._place)
            told["token_logprobs"].append(None if score is None else _finite(score.log_prob))
            told["top_logprobs"].append(None if score is None else self._top(score, name))
            self._place = len(text) if end is None else end
            self._before = token
            self._count += 1
        return told

    def _letters(self, token: int) -> str:
        """What of a token is in a text, but for spaces."""
        if token in self._special:
            return ""
        return self._tokenizer.pieces([token])[0].removesuffix(END_OF_WORD)

    def _end(self, text: str, token: int) -> int | None:
        """Where the next token ends in a text; None if it does not yet."""
        end, left = self._place, len(self._letters(token))
        while left and end < len(text):
            left -= text[end] != " "
            end += 1
        return None if left else end

    def _top(self, score: GeneratedToken, name: str) -> dict[str, float]:
        """The likeliest tokens and the one that was taken, which is called by its name.

        Another of the same name, where one ends its word and the other does not, goes by its id.
        """
        found: dict[str, float] = {}
        for candidate in score.top:
            own = candidate.id == score.id
            key = name if own else self._candidate(candidate)
            if not own and (key == name or key in found):
                key = f"token_id:{candidate.id}"
            found[key] = _finite(candidate.log_prob)
        found.setdefault(name, _finite(score.log_prob))
        return found

    def _candidate(self, candidate: Candidate) -> str:
        name = self._name(candidate.id)
        return f" {name}" if name[:1].isalnum() and self._begins_word() else name

    def _begins_word(self) -> bool:
        if self._before is None or self._before in self._special:
            return False
        piece = self._tokenizer.pieces([self._before])[0]
        return piece.endswith(END_OF_WORD) and piece != f"\n{END_OF_WORD}"

    def _name(self, token: int) -> str:
        """A token by itself."""
        if token >= self._tokenizer.vocab_size:
            return f"token_id:{token}"
        return self._tokenizer.pieces([token])[0].removesuffix(END_OF_WORD)


def _finite(log_prob: float) -> float:
    return max(log_prob, LEAST)
