"""From the ids of one continuation to its text, which may end at a stop string.

Text leaves as soon as it is final: what could yet turn out to be the beginning of a stop string
waits, so no character is ever taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gpt1.config import GenerationConfig
from gpt1.generation.decode import TokenScore
from gpt1.tokenizer import Tokenizer


class StopText:
    """Lets text through up to the first stop string.

    The stop string that is complete first counts, whatever pieces the text comes in; of two that
    end at the same character, the longer.

    Args:
        stop: Strings to stop at, none empty.

    Attributes:
        stopped: Whether one of them has been met.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.stopped = False
        self._stop = stop
        self._held = ""

    def push(self, piece: str) -> str:
        """Take the next piece of text and return what is certain to stay."""
        text = self._held + piece
        found = [
            (start + len(stop), start) for stop in self._stop if (start := text.find(stop)) >= 0
        ]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)[1]]
        keep = len(text) - self._beginning_of_stop(text)
        self._held = text[keep:]
        return text[:keep]

    def flush(self) -> str:
        """Return what was held back, at the end of the text."""
        text, self._held = self._held, ""
        return text

    def _beginning_of_stop(self, text: str) -> int:
        """Length of the longest end of ``text`` with which a stop string begins."""
        longest = max((len(stop) for stop in self._stop), default=0)
        sizes = range(min(longest - 1, len(text)), 0, -1)
        return next((n for n in sizes if any(s.startswith(text[-n:]) for s in self._stop)), 0)


class Candidate(NamedTuple):
    """A token the model could have put in a place.

    Attributes:
        id: Token id.
        piece: Its raw vocabulary string; empty for an id the tokenizer has no name for.
        log_prob: In nats, by the model itself: before any setting changed its scores.
    """

    id: int
    piece: str
    log_prob: float


class GeneratedToken(NamedTuple):
    """A generated token and what else could have been in its place.

    Attributes:
        id: Token id.
        piece: Its raw vocabulary string.
        log_prob: As of a `Candidate`; what `LanguageModel.score` gives for the same ids.
        top: The likeliest tokens in its place, the likeliest first.
    """

    id: int
    piece: str
    log_prob: float
    top: list[Candidate]


@dataclass
class Completion:
    """One continuation of a prompt.

    Attributes:
        prompt_ids: Token ids of the prompt.
        prompt: The prompt as the model read it: lower-case, spaced for people.
        ids: Token ids of the continuation, up to the one at which a stop string was recognised;
            without stop ids and the end-of-text token.
        text: The continuation; ``prompt + text`` is the whole text.
        finish_reason: ``"stop"`` at a stop string, a stop id or the end of the text, ``"length"``
            after ``max_new_tokens``; None while it is being generated.
        logprobs: For each of ``ids``, if ``GenerationConfig.logprobs`` is set.
    """

    prompt_ids: list[int]
    prompt: str = ""
    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: list[GeneratedToken] | None = None


def named_token(tokenizer: Tokenizer, token: int, score: TokenScore) -> GeneratedToken:
    """A token with its score and the pieces of all ids."""

    def candidate(token: int, log_prob: float) -> Candidate:
        named = token < tokenizer.vocab_size
        return Candidate(token, tokenizer.pieces([token])[0] if named else "", log_prob)

    top = [candidate(*pair) for pair in score.top]
    return GeneratedToken(*candidate(token, score.log_prob), top)


class CompletionBuilder:
    """Builds a `Completion` from ids that arrive one at a time. Its texts only ever grow.

    Args:
        tokenizer: Turns ids into text.
        prompt_ids: Token ids of the prompt.
        config: Its stop strings end the continuation and are cut off; the prompt may hold them.

    Attributes:
        completion: What is known so far.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: list[int], config: GenerationConfig
    ) -> None:
        self.completion = Completion(prompt_ids)
        self._scored: list[GeneratedToken] = []
        if config.logprobs is not None:
            self.completion.logprobs = self._scored
        self._tokenizer = tokenizer
        self._max_new_tokens = config.max_new_tokens
        self._detokenizer = tokenizer.detokenizer()
        self._stop_text = StopText(config.stop)
        # The spacing of the last word of the prompt can depend on what follows: it comes later.
        self._prompt_letters = _letters(tokenizer.decode(prompt_ids))
        self._take("".join(map(self._detokenizer.push, prompt_ids)))

    @property
    def stopped(self) -> bool:
        """Whether a stop string has been met: no further ids are wanted."""
        return self._stop_text.stopped

    def push(self, token_id: int) -> None:
        """Take the next id."""
        self.completion.ids.append(token_id)
        self._take(self._detokenizer.push(token_id))

    def add_score(self, score: TokenScore) -> None:
        """Take the score of the next id that has none yet."""
        token = self.completion.ids[len(self._scored)]
        self._scored.append(named_token(self._tokenizer, token, score))

    def finish(self) -> None:
        """Add what is left of the text, after the last id."""
        if not self.stopped:
            self._take(self._detokenizer.flush())
            self.completion.text += self._stop_text.flush()
        full = not self.stopped and len(self.completion.ids) == self._max_new_tokens
        self.completion.finish_reason = "length" if full else "stop"

    def _take(self, piece: str) -> None:
        """Add final text to the prompt until that is complete, and then to the continuation."""
        end = 0
        while self._prompt_letters and end < len(piece):
            self._prompt_letters -= _letters(piece[end])
            end += 1
        self.completion.prompt += piece[:end]
        self.completion.text += self._stop_text.push(piece[end:])


def _letters(text: str) -> int:
    """Number of characters that are not spaces: spacing does not change it."""
    return len(text) - text.count(" ")
