"""A choice of a completion: a continuation of the engine, as its client sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpt1.generation.stopping import GeneratedToken
from gpt1.serving.completion_logprobs import LogprobsBuilder
from gpt1.serving.completion_schemas import CompletionRequest
from gpt1.serving.engine import Request
from gpt1.tokenizer import Tokenizer


class Choice:
    """What of a continuation is asked for, as far as it is known.

    Args:
        request: Of the engine.
        number: Of the continuation, in the request.
        body: What the client asked for.
        tokenizer: Of the model.
    """

    def __init__(
        self, request: Request, number: int, body: CompletionRequest, tokenizer: Tokenizer
    ) -> None:
        self._request, self._number, self._body = request, number, body
        self._completion = request.completions[number]
        self._tokenizer = tokenizer
        self._sent = 0
        self._prompt_scores: list[GeneratedToken | None] | None = None if body.echo else []
        before = None if body.echo else request.prompt_ids[-1]
        self._logprobs = LogprobsBuilder(tokenizer, before)

    @property
    def tokens(self) -> int:
        """How many have been generated for the client."""
        return len(self._completion.ids) if self._body.new_tokens else 0

    @property
    def mean_log_prob(self) -> float:
        """Log-probability of a token of the continuation, on average; it has to be scored."""
        scores = [score.log_prob for score in self._scores(ended=True)]
        return sum(scores) / len(scores)

    @property
    def finish_reason(self) -> str | None:
        """Why it ended; None as long as it goes on."""
        reason = self._completion.finish_reason
        return reason if reason is None or self._body.new_tokens else "length"

    def text(self) -> str:
        """The text so far, which is final."""
        if not self._body.new_tokens:
            return self._tokenizer.decode(self._request.prompt_ids)
        text = self._completion.text  # first: the prompt is complete when the text begins
        return self._completion.prompt + text if self._body.echo else text

    def new_text(self, text: str) -> str:
        """What has been added to the text since the last call."""
        new = text[self._sent :]
        self._sent = len(text)
        return new

    def new_logprobs(self, text: str, *, ended: bool) -> dict[str, list[Any]] | None:
        """Scores that have been added since the last call.

        Args:
            text: The text so far.
            ended: Whether the continuation came to its end.
        """
        if self._body.logprobs is None:
            return None
        ids, scores = self._prompt()
        if scores is None:  # another continuation reads the prompt
            return self._logprobs.take("", [], [], ended=False)
        generated = self._scores(ended) if self._body.new_tokens else []
        ids = [*ids, *(score.id for score in generated)]
        return self._logprobs.take(text, ids, [*scores, *generated], ended=ended)

    def _scores(self, ended: bool) -> Sequence[GeneratedToken]:
        """Of what was generated; at the end, of the token that ended it, too."""
        end = self._request.end_token(self._number) if ended else None
        return [*(self._completion.logprobs or []), *([] if end is None else [end])]

    def _prompt(self) -> tuple[list[int], list[GeneratedToken | None] | None]:
        """Tokens of the prompt, if they are part of the text, and their scores once known."""
        if not self._body.echo:
            return [], []
        if self._prompt_scores is None:
            found = self._request.prompt_scores or []
            if len(found) + 1 == len(self._request.prompt_ids):
                self._prompt_scores = [None, *found]
        return self._request.prompt_ids, self._prompt_scores
