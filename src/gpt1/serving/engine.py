"""The engine of a server: requests from any thread in, text out as soon as it is final.

One thread runs a `gpt1.generation.scheduler.Scheduler`, step after step. What a request gets does
not depend on the others.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING, Literal, NamedTuple

from gpt1.errors import Gpt1Error
from gpt1.generation.scheduler import Continuation, Scheduler, Step
from gpt1.generation.settings import generation_config
from gpt1.generation.stopping import Completion, CompletionBuilder, GeneratedToken, named_token
from gpt1.language_model import LanguageModel

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gpt1.generation.settings import Settings

logger = logging.getLogger(__name__)

SLOTS = 32
"""Texts that are continued together."""

CHUNK = 64
"""Tokens of prompts that are read in a step: a step of many takes about twice as long then."""

WAITING = 256
"""Continuations that may wait for a slot."""


class Overloaded(Gpt1Error):
    """The queue is full, or the engine is about to stop: try again later, or elsewhere."""


class DeadlineExceeded(Gpt1Error):
    """A request was not answered in its time."""


class Update(NamedTuple):
    """What is new of a continuation.

    Attributes:
        number: Of the continuation, among those of its request.
        text: Added to it.
        tokens: How many were added to its ids.
        finish_reason: As of a `Completion`.
        error: Why there is no more.
    """

    number: int
    text: str = ""
    tokens: int = 0
    finish_reason: Literal["stop", "length"] | None = None
    error: Gpt1Error | None = None


Listener = Callable[[Update], object]
"""Is called in the thread of the engine, and has to return at once."""


@dataclass(eq=False)
class Request:
    """What was asked for, and what has come of it.

    Attributes:
        completions: The continuations, as far as they are known; for reading, once they are
            finished or while `Update` is handed out.
        prompt_ids: Token ids of the prompt.
        deadline: Time of `time.monotonic` by which it has to be done.
    """

    completions: list[Completion]
    prompt_ids: list[int]
    deadline: float | None
    listener: Listener
    _engine: Engine
    _parts: list[_Part]
    _is_cancelled: bool = False

    def cancel(self) -> None:
        """Nobody wants the rest: its slots are free before the next step."""
        self._is_cancelled = True

    @property
    def prompt_scores(self) -> list[GeneratedToken] | None:
        """The tokens of the prompt but the first, scored, if they were asked for; once read."""
        continuation = self._parts[0].continuation
        if continuation.prompt_scores is None:
            return None
        pairs = zip(self.prompt_ids[1:], continuation.prompt_scores, strict=False)
        return [named_token(self._engine.lm.tokenizer, *pair) for pair in pairs]

    def end_token(self, number: int) -> GeneratedToken | None:
        """The end-of-text token or stop id a finished continuation ended at.

        Args:
            number: Of the continuation.

        Returns:
            The token with its score; None if it ended otherwise, or without ``logprobs``.
        """
        return self._parts[number].end_token

    @property
    def cached_tokens(self) -> int:
        """How many tokens of the prompt did not have to be read."""
        return self._parts[0].continuation.cached_tokens


class _Part:
    """A continuation, the text of it, and how much of that has been handed out."""

    def __init__(self, continuation: Continuation, builder: CompletionBuilder) -> None:
        self.continuation, self.builder = continuation, builder
        self.sent = 0
        self.end_token: GeneratedToken | None = None

    def new_text(self) -> str:
        text = self.builder.completion.text[self.sent :]
        self.sent += len(text)
        return text


@dataclass
class Stats:
    """What an engine has done since it was started.

    Attributes:
        steps: Passes through the model.
        busy_s: Seconds they took.
        prompt_tokens: Of prompts that were answered.
        cached_tokens: Of these, how many were copied rather than read.
        generated_tokens: Handed out.
        finished: Continuations that came to their end.
        cancelled: Continuations whose client left.
        expired: Continuations that met their deadline.
        failed: Continuations that ended in an error.
    """

    steps: int = 0
    busy_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    finished: int = 0
    cancelled: int = 0
    expired: int = 0
    failed: int = 0


class Engine:
    """Generates for many requests at once, in a thread of its own.

    Args:
        lm: The model; its weights must not change from now on.
        slots: Continuations at a time; each takes memory for ``n_positions`` tokens.
        chunk: Tokens of prompts read in a step, at most: more answer a burst of prompts sooner,
            fewer disturb running texts less.
        waiting: Continuations that may wait for a slot; 0 refuses all that do not get one at once.

    Attributes:
        lm: The model.
        slots: Continuations at a time.
        stats: What was done.
        failure: Why it stopped on its own: a bug. None as long as it runs.
        watch: Is given the listener of each request and returns the one to use, to measure it.

    Raises:
        ConfigError: If a number is out of range.
        CheckpointError: If the model is an LSTM.
    """

    def __init__(
        self, lm: LanguageModel, *, slots: int = SLOTS, chunk: int = CHUNK, waiting: int = WAITING
    ) -> None:
        self.lm = lm
        self.stats = Stats()
        self.failure: BaseException | None = None
        self.watch: Callable[[Listener], Listener] = lambda listener: listener
        self.slots = slots
        self._scheduler = Scheduler(lm.generator, slots, chunk, lm.limits)
        self._most_waiting = waiting
        self._changed = Condition()
        self._inbox: list[Request] = []
        self._requests: dict[Continuation, tuple[Request, int]] = {}
        self._draining = self._closing = False
        self._idle = Event()
        self._idle.set()
        self._thread = Thread(target=self._run, name="gpt1 engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Continuations that have a slot."""
        return len(self._scheduler.running)

    @property
    def waiting(self) -> int:
        """Continuations that wait for one."""
        new = sum(len(request.completions) for request in self._inbox)
        return len(self._scheduler.waiting) + new

    def submit(
        self,
        prompt: str | Sequence[int],
        listener: Listener,
        *,
        n: int = 1,
        prompt_scores: bool = False,
        timeout_s: float | None = None,
        **settings: Unpack[Settings],
    ) -> Request:
        """Ask for continuations; returns at once.

        Args:
            prompt: Text or token ids, see `LanguageModel.generate`.
            listener: Gets every `Update`.
            n: Continuations, at least 1. Without sampling they are all the same.
            prompt_scores: Whether to score the prompt, of ``n_positions`` tokens at most, as well.
            timeout_s: Seconds after which to give up.
            **settings: As in `GenerationConfig`, but for its searches.

        Raises:
            Overloaded: If too many wait, or the engine is about to stop.
            Gpt1Error: As `LanguageModel.generate` does.
        """
        config = generation_config(**settings)
        ids = self.lm.prompt_ids(prompt)
        parts = []
        for number in range(n):
            builder = CompletionBuilder(self.lm.tokenizer, ids, config)
            scored = prompt_scores and number == 0
            continuation = self._scheduler.prepare(ids, config, number, prompt_scores=scored)
            parts.append(_Part(continuation, builder))
        completions = [part.builder.completion for part in parts]
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        request = Request(completions, ids, deadline, self.watch(listener), self, parts)
        with self._changed:
            self._check_room(n)
            self._inbox.append(request)
            self._idle.clear()
            self._changed.notify()
        return request

    def _check_room(self, n: int) -> None:
        if self._draining or self.failure is not None:
            raise Overloaded("the server is about to stop and takes no more requests")
        free = max(0, self.slots - self.running)
        if self.waiting + n > self._most_waiting + free:
            raise Overloaded(
                f"{self.waiting} continuations wait already, and {n} more would make more than "
                f"{self._most_waiting}; try again in a moment"
            )

    def complete(
        self, prompt: str | Sequence[int], *, n: int = 1, **settings: Unpack[Settings]
    ) -> list[Completion]:
        """Ask for continuations and wait for them: what `LanguageModel.complete` gives.

        Args:
            prompt: Text or token ids.
            n: Continuations.
            **settings: As for `submit`.

        Raises:
            Gpt1Error: As `submit` does, or what ended a continuation.
        """
        done, left, errors = Event(), [n], list[Gpt1Error]()

        def listen(update: Update) -> None:
            if update.error is not None:
                errors.append(update.error)
            if update.error is not None or update.finish_reason is not None:
                left[0] -= 1
            if left[0] == 0:
                done.set()

        request = self.submit(prompt, listen, n=n, **settings)
        try:
            done.wait()
        finally:
            request.cancel()
        if errors:
            raise errors[0]
        return request.completions

    def drain(self, timeout_s: float | None = None) -> bool:
        """Take no more requests, wait for those that are here, and stop.

        Args:
            timeout_s: Longest wait; what is not done by then ends in an error.

        Returns:
            Whether all came to their end.
        """
        with self._changed:
            self._draining = True
        done = self._idle.wait(timeout_s)
        self.close()
        return done and self.failure is None

    def close(self) -> None:
        """Stop after the step that is being made; requests that are here end in an error."""
        with self._changed:
            self._draining = self._closing = True
            self._changed.notify()
        self._thread.join()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        error = Overloaded("the server was stopped before this was done")
        try:
            while self._has_work():
                self._admit()
                self._release()
                self._step()
        except BaseException as failure:
            logger.exception("the engine failed")
            self.failure = failure
            error = Overloaded("the server failed at this; try again, or elsewhere")
        self._admit()
        for continuation, (request, number) in list(self._requests.items()):
            self._end(continuation)
            _tell(request, Update(number, error=error))
        self._idle.set()

    def _has_work(self) -> bool:
        """Wait for work; False when it is time to stop."""
        with self._changed:
            while not (self._inbox or self._scheduler.has_work or self._closing):
                self._idle.set()
                self._changed.wait()
            return not self._closing

    def _admit(self) -> None:
        with self._changed:
            inbox, self._inbox = self._inbox, []
            for request in inbox:
                for number, part in enumerate(request._parts):
                    self._requests[part.continuation] = request, number
                    self._scheduler.add(part.continuation)

    def _release(self) -> None:
        """Let those leave whose client has left or whose time is over."""
        now = time.monotonic()
        for continuation, (request, number) in list(self._requests.items()):
            if request._is_cancelled:
                self._end(continuation)
                self.stats.cancelled += 1
            elif request.deadline is not None and now > request.deadline:
                self._end(continuation)
                self.stats.expired += 1
                error = DeadlineExceeded("the request was not done in the time it had")
                _tell(request, Update(number, error=error))

    def _end(self, continuation: Continuation) -> None:
        self._scheduler.remove(continuation)
        del self._requests[continuation]

    def _step(self) -> None:
        if not self._scheduler.has_work:
            return
        start = time.monotonic()
        steps = self._scheduler.step()
        self.stats.steps += 1
        self.stats.busy_s += time.monotonic() - start
        for step in steps:
            self._take(step)

    def _take(self, step: Step) -> None:
        """Hand out what a step gave a continuation."""
        request, number = self._requests[step.continuation]
        part = request._parts[number]
        if step.error is not None:
            self._end(step.continuation)
            self.stats.failed += 1
            _tell(request, Update(number, error=step.error))
            return
        builder, new = part.builder, 0
        if step.token is not None:
            builder.push(step.token)
            new = 1
            if step.score is not None:
                builder.add_score(step.score)
        elif step.stop is not None:
            part.end_token = named_token(self.lm.tokenizer, *step.stop)
        if step.ended or builder.stopped:
            builder.finish()
            self._end(step.continuation)
            self._count(step.continuation)
        self.stats.generated_tokens += new
        _tell(request, Update(number, part.new_text(), new, builder.completion.finish_reason))

    def _count(self, continuation: Continuation) -> None:
        self.stats.finished += 1
        self.stats.prompt_tokens += len(continuation.prompt)
        self.stats.cached_tokens += continuation.cached_tokens


def _tell(request: Request, update: Update) -> None:
    """Hand out an update; a listener that fails gets no more."""
    try:
        request.listener(update)
    except Exception:
        logger.exception("a listener failed, and its request is cancelled")
        request.cancel()
