"""Continuous batching: texts join and leave between the steps of one model.

A step reads the newest token of every text that is being continued, and a part of the prompts that
are not read yet, at most so many tokens that the others do not wait for long. What two texts begin
with is read once: its keys and values are copied, also from texts that have left, as long as nobody
took their slot. What a text gets is what `gpt1.generation.decode.Decoder` would give it alone.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from gpt1.config import GenerationConfig
from gpt1.errors import ConfigError, Gpt1Error
from gpt1.generation import processors, sampling
from gpt1.generation.decode import TokenScore, check_prompts, pick, token_scores
from gpt1.generation.readers import Network
from gpt1.generation.scores import Scores
from gpt1.generation.slots import open_slots

WORTH_WAITING = 16
"""Tokens: a prompt waits for another that is just being read if that saves it as many."""


class Continuation:
    """A continuation of a prompt. Made by `Scheduler.prepare`.

    Attributes:
        prompt: Token ids.
        context: Token ids of the prompt and of what was generated.
        config: How tokens are chosen.
        prompt_scores: Scores of the tokens of the prompt but the first, as far as they have been
            read; None if nobody asked for them.
        cached_tokens: Tokens of the prompt that were not read but copied.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        number: int,
        scores: Scores,
        prompt_scores: list[TokenScore] | None,
    ) -> None:
        self.prompt = list(prompt)
        self.context = list(prompt)
        self.config = config
        self.prompt_scores = prompt_scores
        self.cached_tokens = 0
        self._scores = scores
        self._random = sampling.random_source(config.seed, prompt, number)
        self._slot = -1
        self._start = 0  # of the window, in the context
        self._read = 0  # tokens of the window

    @property
    def _unread(self) -> int:
        return len(self.context) - self._start - self._read

    def _slide(self, limit: int) -> None:
        """Begin a new window if it is full; see `gpt1.generation.reading`."""
        if self._read == limit:
            self._start = len(self.context) - max(1, limit // 2)
            self._read = 0

    @property
    def _is_scored(self) -> bool:
        """Whether there is no token of the prompt left to score."""
        return self.prompt_scores is None or len(self.prompt_scores) + 1 >= len(self.prompt)


class Step(NamedTuple):
    """What a step gave a continuation.

    Attributes:
        continuation: The one.
        token: Its next token; None where there is none.
        score: Of the token, if ``config.logprobs`` is set.
        ended: Whether it was the last: at a stop id, which is not given, after ``max_new_tokens``,
            or at an error. It has left by then.
        error: Why nothing can be chosen.
        stop: The stop id at which it ended, and its score, if ``config.logprobs`` is set.
    """

    continuation: Continuation
    token: int | None
    score: TokenScore | None = None
    ended: bool = False
    error: Gpt1Error | None = None
    stop: tuple[int, TokenScore] | None = None


class _Piece(NamedTuple):
    """Tokens of a continuation to read in this step: the next ones of its window."""

    continuation: Continuation
    tokens: int


class Scheduler:
    """Continues texts together. Only `prepare` may be called by several threads.

    Args:
        model: In evaluation mode.
        slots: Texts at a time.
        chunk: Tokens of prompts read in a step, at most.
        limits: What `Scores` takes beside a config, for it.

    Attributes:
        waiting: Texts without a slot, the first to come first.
        running: Texts with one.
    """

    def __init__(
        self,
        model: Network,
        slots: int,
        chunk: int,
        limits: Callable[[GenerationConfig], Mapping[str, Any]],
    ) -> None:
        self.waiting: deque[Continuation] = deque()
        self.running: list[Continuation] = []
        self._model = model
        self._slots = open_slots(model, slots)
        if slots < 1:
            raise ConfigError(f"slots is {slots} but must be at least 1")
        if chunk < self._slots.grain:
            raise ConfigError(f"chunk is {chunk} but must be at least {self._slots.grain}")
        self._chunk = chunk // self._slots.grain * self._slots.grain
        self._limit = model.config.n_positions
        self._free = deque(range(slots))  # the one left longest ago first
        self._held = np.zeros((slots, self._limit), np.int32)  # ids in the cache
        self._sizes = np.zeros(slots, np.int64)
        self._limits = limits
        self._scores: WeakValueDictionary[GenerationConfig, Scores] = WeakValueDictionary()
        self._lock = Lock()

    def prepare(
        self,
        prompt: Sequence[int],
        config: GenerationConfig,
        number: int = 0,
        *,
        prompt_scores: bool = False,
    ) -> Continuation:
        """A continuation, to be given to `add`.

        Args:
            prompt: Token ids, at least one; the last ``n_positions`` are seen.
            config: How to choose tokens; of its searches, sampling and greedy alone.
            number: Among the continuations of the prompt, from 0: each samples otherwise.
            prompt_scores: Whether the tokens of the prompt are to be scored, too; then it may not
                be longer than ``n_positions``.

        Raises:
            DataError: If the prompt has no tokens or an id outside the vocabulary.
            ConfigError: If a setting names an id outside the vocabulary, or asks for a search.
        """
        if config.num_beams > 1 or config.penalty_alpha is not None or config.guesses:
            raise ConfigError(
                "num_beams, penalty_alpha, prompt_lookup_num_tokens and assistant_model are for "
                "texts that are generated alone; leave them out"
            )
        check_prompts([prompt], self._model)
        with self._lock:
            key = _shared(config)
            scores = self._scores.get(key)
            if scores is None:
                limits = self._limits(key)
                scores = self._scores[key] = Scores(self._model.config.vocab_size, key, **limits)
        wanted: list[TokenScore] | None = [] if prompt_scores else None
        return Continuation(prompt, config, number, scores, wanted)

    def add(self, continuation: Continuation) -> None:
        """Let a text wait for a slot."""
        self.waiting.append(continuation)

    def remove(self, continuation: Continuation) -> None:
        """Let a text leave, wherever it is; its slot is free at once."""
        if continuation in self.waiting:
            self.waiting.remove(continuation)
        if continuation in self.running:
            self.running.remove(continuation)
            self._free.append(continuation._slot)

    @property
    def has_work(self) -> bool:
        """Whether a text is here."""
        return bool(self.waiting or self.running)

    def step(self) -> list[Step]:
        """Read once.

        Returns:
            What it gave; nothing to texts whose prompt is not read to its end.
        """
        self._admit()
        pieces = self._compose()
        logits = self._read(pieces)
        places = np.cumsum([len(_wanted(piece)) for piece in pieces]) - 1
        done: list[tuple[Continuation, int]] = []
        for piece, place in zip(pieces, places.tolist(), strict=True):
            continuation = piece.continuation
            self._score_prompt(piece, logits[: place + 1])
            continuation._read += piece.tokens
            if continuation._unread == 0:
                done.append((continuation, place))
        steps = self._choose(logits, done)
        for step in steps:
            if step.ended:
                self.remove(step.continuation)
        return steps

    # ------------------------------------------------------------ slots

    def _admit(self) -> None:
        while self.waiting and self._free:
            continuation = self.waiting.popleft()
            window = continuation.context[-self._limit :]
            continuation._start = len(continuation.context) - len(window)
            slot, shared = self._longest_common(window)
            if slot in self._free and continuation.prompt_scores is None:
                self._free.remove(slot)  # what it holds stays in place
                self._sizes[slot] = shared
            else:
                slot, shared = self._free.popleft(), 0
                self._sizes[slot] = 0
            continuation._slot, continuation._read = slot, shared
            continuation.cached_tokens = shared
            self.running.append(continuation)

    def _longest_common(self, window: Sequence[int]) -> tuple[int, int]:
        """The slot that holds most of the beginning of a window, and how much that is.

        The last token of the window does not count: it has to be read, for its logits.

        Returns:
            ``(-1, 0)`` where none holds anything of it.
        """
        length = len(window) - 1
        differs = self._held[:, :length] != np.array(window[:length], np.int32)
        common = np.where(differs.any(1), differs.argmax(1), length) if length else self._sizes * 0
        common = np.minimum(common, self._sizes) // self._slots.grain * self._slots.grain
        slot = int(common.argmax())
        return (slot, int(common[slot])) if common[slot] else (-1, 0)

    def _compose(self) -> list[_Piece]:
        """What to read: all newest tokens, and prompts as far as there is room for them."""
        pieces: list[_Piece] = []
        room = self._chunk
        for continuation in self.running:
            continuation._slide(self._limit)
            if continuation._unread > 1:
                self._share(continuation)
                count = min(continuation._unread, room)
                if count < continuation._unread:
                    count = count // self._slots.grain * self._slots.grain
                if count == 0 or self._waits(continuation, pieces):
                    continue
                room -= count
                pieces.append(_Piece(continuation, count))
            else:
                pieces.append(_Piece(continuation, 1))
        return pieces

    def _share(self, continuation: Continuation) -> None:
        """Copy what another slot holds of the same beginning."""
        if continuation.prompt_scores is not None:
            return
        slot, shared = self._longest_common(continuation.context[continuation._start :])
        if shared > continuation._read:
            target = continuation._slot
            self._slots.copy(slot, target, shared)
            self._held[target, :shared] = self._held[slot, :shared]
            self._sizes[target] = shared
            if len(continuation.context) == len(continuation.prompt):
                continuation.cached_tokens += shared - continuation._read
            continuation._read = shared

    def _waits(self, continuation: Continuation, pieces: Sequence[_Piece]) -> bool:
        """Whether what comes next in a text is just being read in another, to be copied then."""
        if continuation.prompt_scores is not None:
            return False
        window = continuation.context[continuation._start : -1]
        return any(
            piece.tokens > 1 and _common(window, piece) >= continuation._read + WORTH_WAITING
            for piece in pieces
        )

    def _read(self, pieces: Sequence[_Piece]) -> NDArray[np.float32]:
        """Logits behind the wanted tokens of all pieces."""
        ids, rows, positions, wanted = list[int](), list[int](), list[int](), list[int]()
        for piece in pieces:
            continuation, first = piece.continuation, piece.continuation._read
            slot, end = continuation._slot, first + piece.tokens
            wanted += [len(ids) + number for number in _wanted(piece)]
            new = continuation.context[continuation._start + first : continuation._start + end]
            ids += new
            rows += [slot] * piece.tokens
            positions += range(first, end)
            self._held[slot, first:end] = new
            self._sizes[slot] = end
        return self._slots.read(ids, rows, positions, wanted)

    # ------------------------------------------------------------ tokens

    def _score_prompt(self, piece: _Piece, logits: NDArray[np.float32]) -> None:
        """Score the tokens of the prompt that follow those of a piece.

        Args:
            piece: Of a prompt.
            logits: Behind its tokens, and before them others.
        """
        continuation = piece.continuation
        if continuation.prompt_scores is None or continuation._is_scored:
            return
        first = continuation._read + 1
        tokens = continuation.prompt[first : first + piece.tokens]
        behind = logits[len(logits) - piece.tokens :][: len(tokens)]
        own = processors.log_softmax(behind.astype(np.float64))
        continuation.prompt_scores += token_scores(own, tokens, continuation.config.logprobs or 0)

    def _choose(
        self, logits: NDArray[np.float32], done: Sequence[tuple[Continuation, int]]
    ) -> list[Step]:
        """The next token of each continuation; its logits are in the place beside it."""
        groups: dict[Scores, list[tuple[Continuation, int]]] = {}
        for pair in done:
            groups.setdefault(pair[0]._scores, []).append(pair)
        return [*chain.from_iterable(_choose(logits, group) for group in groups.values())]


def _choose(logits: NDArray[np.float32], group: Sequence[tuple[Continuation, int]]) -> list[Step]:
    """The same for continuations with equal settings."""
    continuations = [continuation for continuation, _ in group]
    scores, config = continuations[0]._scores, continuations[0].config
    places = [place for _, place in group]
    behind = logits if places == list(range(len(logits))) else logits[places]
    contexts = [continuation.context for continuation in continuations]
    lengths = [len(continuation.prompt) for continuation in continuations]
    try:
        scored = scores(behind, contexts, lengths)
        tokens = pick(scored, config, [continuation._random for continuation in continuations])
    except Gpt1Error as error:
        if len(group) == 1:  # where one cannot go on, the others can
            return [Step(continuations[0], None, ended=True, error=error)]
        return [*chain.from_iterable(_choose(logits, [pair]) for pair in group)]
    found: Sequence[TokenScore | None] = [None] * len(tokens)
    if config.logprobs is not None:
        own = processors.log_softmax(behind.astype(np.float64))
        found = token_scores(own, tokens, config.logprobs)
    return [_taken(*step) for step in zip(continuations, tokens, found, strict=True)]


def _taken(continuation: Continuation, token: int, score: TokenScore | None) -> Step:
    """The step of a continuation whose next token is chosen."""
    if token in continuation._scores.stop_ids:
        stop = None if score is None else (token, score)
        return Step(continuation, None, ended=True, stop=stop)
    continuation.context.append(token)
    generated = len(continuation.context) - len(continuation.prompt)
    return Step(continuation, token, score, generated == continuation.config.max_new_tokens)


def _wanted(piece: _Piece) -> range:
    """Tokens of a piece whose logits are needed: all to score a prompt, else the last of a text."""
    continuation = piece.continuation
    if not continuation._is_scored:
        return range(piece.tokens)
    return (
        range(piece.tokens - 1, piece.tokens) if piece.tokens == continuation._unread else range(0)
    )


def _common(window: Sequence[int], piece: _Piece) -> int:
    """How much of the beginning of a window another text will hold when a piece of it is read."""
    other = piece.continuation
    held = other.context[other._start : other._start + other._read + piece.tokens]
    pairs = enumerate(zip(window, held, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(window), len(held)))


def _shared(config: GenerationConfig) -> GenerationConfig:
    """The settings that matter for the choice of a single token: who has the same is one group."""
    return dataclasses.replace(
        config,
        max_new_tokens=config.max_new_tokens if config.bad_words else sys.maxsize,
        seed=None,
        stop=(),
        n=1,
    )
