"""The engine's work for a completion request: given up as soon as nobody waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from gpt1.errors import DataError, Gpt1Error
from gpt1.serving.answering import n_positions
from gpt1.serving.completion_choice import Choice
from gpt1.serving.completion_schemas import CompletionRequest
from gpt1.serving.config import ServingConfig
from gpt1.serving.engine import Engine, Listener, Request, Update
from gpt1.serving.errors import ApiError
from gpt1.serving.handover import Handover

Receive = Callable[[], Awaitable[Any]]


class ClientLeft(Gpt1Error):
    """Nobody waits for the answer any more."""


class CompletionJob:
    """Continues all prompts of a request, for one client; to be closed in the end.

    Args:
        engine: Of the model.
        body: The request.
        config: Limits.

    Attributes:
        body: The request.
        choices: All continuations, prompt by prompt.
    """

    def __init__(self, engine: Engine, body: CompletionRequest, config: ServingConfig) -> None:
        self.body = body
        self.choices: list[Choice] = []
        self._engine, self._config = engine, config
        self._requests: list[Request] = []
        self._updates: deque[tuple[int, Update]] = deque()
        self._changed = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._is_over = False
        self._unfinished = 0

    async def start(self, handover: Handover, receive: Receive) -> None:
        """Hand the prompts to the engine.

        Args:
            handover: Into this event loop.
            receive: Tells when the client leaves, by ASGI.

        Raises:
            Gpt1Error: If the request is refused.
        """
        count = len(self.body.prompts)
        self._unfinished = count * self.body.continuations
        listeners = [handover.listener(partial(self._take, number)) for number in range(count)]
        self._watching = asyncio.create_task(self._watch(receive))
        # Reading long prompts takes a while, in which others want their next token.
        await asyncio.to_thread(self._submit, listeners)

    def _submit(self, listeners: list[Listener]) -> None:
        lm, body = self._engine.lm, self.body
        settings = body.settings(lm.tokenizer)
        prompts = [self._ids(number, prompt) for number, prompt in enumerate(body.prompts)]
        for prompt, listener in zip(prompts, listeners, strict=True):
            request = self._engine.submit(
                prompt,
                listener,
                n=body.continuations,
                prompt_scores=bool(body.echo) and body.logprobs is not None,
                timeout_s=self._config.timeout_s,
                **settings,
            )
            self._requests.append(request)
            if self._is_over:
                request.cancel()
            numbers = range(body.continuations)
            self.choices += [Choice(request, number, body, lm.tokenizer) for number in numbers]

    def _ids(self, number: int, prompt: str | list[int]) -> list[int]:
        """Token ids of a prompt.

        Raises:
            ApiError: If it is too long, or holds an id that a client may not use.
        """
        tokenizer = self._engine.lm.tokenizer
        special = set(tokenizer.special_tokens.values()) - {tokenizer.end_of_text_id}
        for token in prompt if isinstance(prompt, list) else []:
            if not 0 <= token < tokenizer.vocab_size:
                known = f"the ids of this model are 0 to {tokenizer.vocab_size - 1}"
                raise ApiError(400, f"prompt holds the id {token}, but {known}", param="prompt")
            if token in special:
                message = f"prompt holds the id {token}, a special token; only end-of-text may be"
                raise ApiError(400, message, param="prompt")
        try:
            ids = self._engine.lm.prompt_ids(prompt)
        except DataError as error:
            raise ApiError(400, str(error), param="prompt") from error
        limit = n_positions(self._engine.lm)
        if len(ids) > limit:
            raise ApiError(
                400,
                f"this model's maximum context length is {limit} tokens, but prompt {number} has "
                f"{len(ids)}; shorten it",
                param="prompt",
                code="context_length_exceeded",
            )
        return ids

    def _take(self, number: int, update: Update) -> None:
        index = number * self.body.continuations + update.number
        self._updates.append((index, update))
        if self.body.stream or update.error is not None or update.finish_reason is not None:
            self._changed.set()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._give_up()
        self._changed.set()

    async def updates(self) -> list[tuple[int, Update]]:
        """Wait for something new.

        Returns:
            All there is: indices of choices and what is new of them; nothing once all have ended.

        Raises:
            ClientLeft: If the client does not listen any more.
            Gpt1Error: If a continuation ended in an error.
        """
        while self._unfinished and not self._updates and not self._is_over:
            self._changed.clear()
            await self._changed.wait()
        if self._is_over:
            raise ClientLeft("the client has left")
        found = list(self._updates)
        self._updates.clear()
        for _, update in found:
            if update.error is not None:
                raise update.error
            self._unfinished -= update.finish_reason is not None
        return found

    def usage(self) -> dict[str, Any]:
        """How many tokens there were."""
        prompt = sum(len(request.prompt_ids) for request in self._requests)
        new = sum(choice.tokens for choice in self.choices)
        cached = sum(request.cached_tokens for request in self._requests)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": new,
            "total_tokens": prompt + new,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def best(self) -> list[Choice]:
        """The choices the client gets: of each prompt, the likeliest."""
        n, size = self.body.choices, self.body.continuations
        if n == size:
            return self.choices
        starts = range(0, len(self.choices), size)
        groups = [self.choices[start : start + size] for start in starts]
        ranked = [sorted(g, key=lambda c: c.mean_log_prob, reverse=True) for g in groups]
        return [choice for group in ranked for choice in group[:n]]

    def _give_up(self) -> None:
        self._is_over = True
        for request in self._requests:
            request.cancel()

    def close(self) -> None:
        """Free what is not done."""
        self._give_up()
        if self._watching is not None:
            self._watching.cancel()
