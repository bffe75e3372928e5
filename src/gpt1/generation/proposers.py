"""Guesses at how texts go on, for `gpt1.generation.speculative` to check.

`PromptLookup` copies what followed the same few tokens earlier in the text. `DraftModel` asks a
smaller model. How good a guess is decides how long generating takes, never what is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from gpt1.errors import ConfigError
from gpt1.flops import matrix_parameters
from gpt1.generation.processors import Array, namespace
from gpt1.generation.readers import Network, open_reader
from gpt1.generation.scores import Scores
from gpt1.native.model import NativeModel

SIZES = (3, 2)
"""Tokens that have to occur before for a look-up; the longer run is tried first."""

AHEAD = 0.16
"""Time a token more in the same pass takes, in passes of a single one; measured on CPUs."""

WORK = {"float32": 1.0, "float16": 0.7, "bfloat16": 0.7, "int8": 0.35, "int4": 0.3}
"""Time a weight takes, by number format, where one of float32 takes 1; measured on a CPU."""


class Text(NamedTuple):
    """A text so far.

    Attributes:
        sequence: Its number; the same in every call.
        ids: Prompt and generated ids.
        prompt_length: How many of them are the prompt.
    """

    sequence: int
    ids: list[int]
    prompt_length: int


class Proposal(NamedTuple):
    """How a text may go on.

    Attributes:
        ids: The next tokens, as far as there is a guess.
        cost: What it took, in steps of plain decoding.
    """

    ids: list[int]
    cost: float = 0.0


class Proposer(Protocol):
    """Makes proposals.

    Attributes:
        price: What a token takes, in steps of plain decoding.
    """

    price: float

    def propose(self, texts: Sequence[Text], counts: Sequence[int]) -> list[Proposal]:
        """Guess how texts go on.

        Args:
            texts: Those of an earlier call, grown, or some of them.
            counts: For each, how many tokens to propose at most.
        """


class PromptLookup:
    """Proposes what followed the last time the text had the tokens it ends with.

    The run of `SIZES` tokens that occurred last counts. Where that is so recent that the text ends
    before the proposal does, the text is taken to go round in circles.

    Source: Saxena 2023, "Prompt Lookup Decoding".
    """

    price = 0.0

    def __init__(self) -> None:
        self._places: dict[int, _Places] = {}

    def propose(self, texts: Sequence[Text], counts: Sequence[int]) -> list[Proposal]:
        """See `Proposer`."""
        return [
            Proposal(self._places.setdefault(text.sequence, _Places()).follow(text.ids, count))
            for text, count in zip(texts, counts, strict=True)
        ]


class _Places:
    """Where in a text each run of `SIZES` tokens last ended before another token."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, ...], int] = {}
        self._seen = 0

    def follow(self, ids: Sequence[int], count: int) -> list[int]:
        """So many tokens that may follow."""
        if count == 0:
            return []
        for place in range(self._seen, len(ids)):
            for size in SIZES:
                if size <= place:
                    self._found[tuple(ids[place - size : place])] = place
        self._seen = len(ids)
        places = (self._found.get(tuple(ids[-size:])) for size in SIZES)
        start = next((place for place in places if place is not None), len(ids))
        period = len(ids) - start
        return [ids[start + i % period] for i in range(count)] if period else []


class DraftModel:
    """Proposes what a smaller model would say, by greedy search under the same settings.

    Its reading of the prompts, and of the end of a text that is longer than its positions, is not
    part of the cost of its proposals.

    Args:
        draft: With the vocabulary of the model.
        model: What its proposals are for.
        scores: The settings of the text so far.

    Raises:
        ConfigError: If the vocabularies differ in size.
    """

    def __init__(self, draft: Network, model: Network, scores: Scores) -> None:
        if draft.config.vocab_size != model.config.vocab_size:
            raise ConfigError(
                f"assistant_model has {draft.config.vocab_size} tokens but the model has "
                f"{model.config.vocab_size}; it has to be one with the same tokenizer"
            )
        self.price = _work(draft) / _work(model)
        self._scores, self._limit = scores, draft.config.n_positions
        self._reader = open_reader(draft, ahead=True)
        self._rows: dict[int, _Row] = {}

    def propose(self, texts: Sequence[Text], counts: Sequence[int]) -> list[Proposal]:
        """See `Proposer`. All texts are continued together, as far as the longest proposal."""
        steps = max(counts)
        if steps == 0:
            return [Proposal([]) for _ in texts]
        contexts = [list(text.ids) for text in texts]
        lengths = [text.prompt_length for text in texts]
        with self._reader.session():
            logits, costs = self._catch_up(texts, steps)
            steps = min(steps, self._reader.room + 1)
            for step in range(steps):
                if step:
                    logits = self._reader.read_ahead(contexts, [1] * len(contexts))
                scores = self._scores(logits, contexts, lengths)
                tokens = namespace(scores).argmax(scores, axis=-1).tolist()
                for context, token in zip(contexts, tokens, strict=True):
                    context.append(token)
        for text, context in zip(texts, contexts, strict=True):
            self._rows[text.sequence] = _Row(len(text.ids), context[:-1])
        return [
            Proposal(context[len(text.ids) :][:count], cost + self.price * steps)
            for text, context, count, cost in zip(texts, contexts, counts, costs, strict=True)
        ]

    def _catch_up(self, texts: Sequence[Text], steps: int) -> tuple[Array, list[float]]:
        """Read what is new in the texts; logits ``(B, V)`` behind them, and what that took."""
        contexts = [text.ids for text in texts]
        if self._rows:
            unread = self._rewind(texts)
            if max(unread) + steps - 1 <= self._reader.room:
                logits = self._reader.read_ahead(contexts, unread)
                ends = [end - 1 for end in accumulate(unread)]
                return logits[ends], [self.price * AHEAD * (count - 1) for count in unread]
        half = max(1, self._limit // 2)
        seen = [ids if len(ids) + steps <= self._limit else ids[-half:] for ids in contexts]
        return self._reader.read_prompts(seen, self._limit, 1), [0.0] * len(texts)

    def _rewind(self, texts: Sequence[Text]) -> list[int]:
        """Forget what the texts do not say after all, and count the tokens not read yet."""
        kept = [text.sequence for text in texts]
        if len(kept) != len(self._rows):
            numbers = {sequence: row for row, sequence in enumerate(self._rows)}
            self._reader.keep([numbers[sequence] for sequence in kept])
            self._rows = {sequence: self._rows[sequence] for sequence in kept}
        right = [self._rows[text.sequence].right(text.ids) for text in texts]
        read = [len(self._rows[sequence].read) for sequence in kept]
        self._reader.forget([count - same for count, same in zip(read, right, strict=True)])
        return [len(text.ids) - same for text, same in zip(texts, right, strict=True)]


class _Row(NamedTuple):
    """What a draft model has read of a text.

    Attributes:
        sure: How many ids the text had.
        read: These, and those proposed that were read to propose the next.
    """

    sure: int
    read: list[int]

    def right(self, ids: Sequence[int]) -> int:
        """How many of the ids read are in the text, the last id of which is read anyhow."""
        most = min(len(self.read), len(ids) - 1)
        places = range(self.sure, most)
        return next((place for place in places if self.read[place] != ids[place]), most)


def _work(model: Network) -> float:
    """What a step takes, in weights of float32."""
    form = model.form if isinstance(model, NativeModel) else str(model.dtype)
    return matrix_parameters(model.config) * WORK[form.removeprefix("torch.")]
