"""Speculative decoding: tokens are guessed and read together, and as many kept as were right.

A pass over a few tokens takes little longer than one over a single token, which mostly waits for
the weights. What is chosen in each place is what `Decoder` would choose there, from the same
scores and the same random number; a guess is right if it is the token chosen. So the result is
that of `Decoder`, token for token, greedy or sampled. In the scheme of Leviathan et al. 2023 and
Chen et al. 2023, that is as likely to accept a guess as their rule is: the proposers here are sure
of theirs, which makes its probability under the model the chance of either.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gpt1.config import GenerationConfig
from gpt1.generation.bad_words import BadWords
from gpt1.generation.decode import Decoder
from gpt1.generation.processors import Array, namespace
from gpt1.generation.proposers import AHEAD, DraftModel, PromptLookup, Proposal, Proposer, Text
from gpt1.generation.readers import Network, open_reader

MOST_DRAFTED = 8
"""Tokens a draft model proposes at a time, at most."""

FIRST_LENGTH = 4
"""Tokens of the first proposals."""

LEAST_LENGTH = 2
"""Tokens of proposals that keep failing: a single one is hardly cheaper to read."""

FIRST_CREDIT = 0.75
"""Steps that a look-up may lose before the first guess was right."""

FIRST_CREDIT_OF_A_DRAFT = 3.0
"""The same of a draft model, whose guesses are dearer and seldom all wrong."""

SHARE = 0.01
"""Of the steps, how much may be lost later on."""


class SpeculativeDecoder(Decoder):
    """Continues prompts as `Decoder` does, in fewer passes through the model.

    A step adds tokens to some of the running sequences: first to all, then to those whose guesses
    have been right so far. On a `NativeModel` the ids are those of `Decoder`, as a reading does not
    depend on what is read with it; on torch, as far as its rounding does not.

    Args:
        assistant: A model with the same vocabulary that guesses; None: look up the text,
            ``config.prompt_lookup_num_tokens`` tokens at a time at most.
        others: As of `Decoder`.

    Raises:
        ConfigError: If the assistant has another vocabulary; further as `Decoder` does.
    """

    def __init__(
        self,
        model: Network,
        prompts: Sequence[Sequence[int]],
        config: GenerationConfig,
        assistant: Network | None = None,
        *,
        stop_ids: Collection[int] = (),
        suppress: Collection[int] = (),
        bad_words: BadWords | None = None,
    ) -> None:
        super().__init__(
            model, prompts, config, stop_ids=stop_ids, suppress=suppress, bad_words=bad_words
        )
        self._reader = open_reader(model, ahead=True)
        self._proposer: Proposer = PromptLookup()
        most = config.prompt_lookup_num_tokens or MOST_DRAFTED
        if assistant is not None:
            self._proposer = DraftModel(assistant, model, self._scores)
        credit = FIRST_CREDIT if assistant is None else FIRST_CREDIT_OF_A_DRAFT
        self._paces = [Pace(most, credit) for _ in self.running]
        self._passes: dict[int, _Pass] = {}  # of each sequence, the newest

    def _next(self) -> list[int]:
        if self._steps == 0:
            return super()._next()
        ready = [number for number in self.running if self._is_ahead(number)]
        if not ready:
            self._hold_running()
            self._settle()
            proposals = self._propose()
            if not any(proposal.ids for proposal in proposals):
                self._spend(proposals, [0] * len(proposals))
                return super()._next()
            self._read(proposals)
            ready = self.running
        self._rows = list(ready)
        logits = [self._passes[number].newest for number in ready]
        several = len(logits) > 1
        tokens = self._choose(namespace(logits[0]).concat(logits) if several else logits[0])
        for number, token in zip(ready, tokens, strict=True):
            self._passes[number].take(token)
        return tokens

    def _is_ahead(self, sequence: int) -> bool:
        return sequence in self._passes and self._passes[sequence].is_ahead

    def _read(self, proposals: Sequence[Proposal]) -> None:
        """Read the newest token and the proposal of every running sequence."""
        contexts = [
            self._contexts[number] + proposal.ids
            for number, proposal in zip(self._held, proposals, strict=True)
        ]
        counts = [1 + len(proposal.ids) for proposal in proposals]
        logits = self._reader.read_ahead(contexts, counts)
        start = 0
        for number, proposal, count in zip(self._held, proposals, counts, strict=True):
            self._passes[number] = _Pass(logits[start : start + count], proposal)
            start += count

    def _settle(self) -> None:
        """Forget the guesses that were wrong."""
        if not self._passes:
            return
        passes = [self._passes[number] for number in self._held]
        wrong = [len(one.proposal.ids) - one.right for one in passes]
        if any(wrong):
            self._reader.forget(wrong)
        self._spend([one.proposal for one in passes], [one.right for one in passes])
        self._passes = {}

    def _spend(self, proposals: Sequence[Proposal], right: Sequence[int]) -> None:
        """Let the paces know what became of proposals, and what they took."""
        price = price_of_reading(len(self._held))
        for number, proposal, count in zip(self._held, proposals, right, strict=True):
            guesses = len(proposal.ids)
            self._paces[number].note(guesses, count, proposal.cost + guesses * price)

    def _propose(self) -> list[Proposal]:
        """A proposal for each sequence held, empty where none is worth its while."""
        room = self._reader.room - 1
        price = self._proposer.price + price_of_reading(len(self._held))
        counts = [
            max(0, min(self._paces[number].length(price), self._left(number) - 1, room))
            for number in self._held
        ]
        if not any(counts):
            return [Proposal([])] * len(counts)
        sizes = [len(self._prompts[number // self._config.n]) for number in self._held]
        texts = [
            Text(number, self._contexts[number], size)
            for number, size in zip(self._held, sizes, strict=True)
        ]
        return self._proposer.propose(texts, counts)


class Pace:
    """How many tokens to guess in a text: many while that saves steps, seldom any while not.

    Steps saved are credit for guesses that may fail. So guessing loses little more than `SHARE`
    where it never helps, and soon sets in where it does.

    Args:
        most: Tokens of a proposal.
        credit: Steps to begin with.
    """

    def __init__(self, most: int, credit: float = FIRST_CREDIT) -> None:
        self._most = most
        self._length = min(FIRST_LENGTH, most)
        self._credit = credit

    def length(self, price: float) -> int:
        """How many tokens to guess now.

        Args:
            price: What a guess takes, in steps of the sequence.
        """
        return min(self._length, int(self._credit / price))

    def note(self, guesses: int, right: int, cost: float) -> None:
        """Take in what became of a proposal.

        Args:
            guesses: Its tokens, which may be none.
            right: How many were right.
            cost: What all of them took, in steps.
        """
        self._credit += right - cost + SHARE * (right + 1)
        self._credit = min(self._credit, float(self._most))
        if guesses:
            longer = max(self._length, 2 * guesses)
            shorter = max(LEAST_LENGTH, right + 1)
            self._length = min(self._most, longer if right == guesses else shorter)


def price_of_reading(sequences: int) -> float:
    """What it takes to read a guess, in steps of one of so many sequences that are read together.

    A pass over m tokens takes ``1 - AHEAD + AHEAD * m``.
    """
    return AHEAD * sequences / (1 - AHEAD + AHEAD * sequences)


class _Pass:
    """A pass through the model, for one sequence.

    Args:
        logits: ``(1 + guesses, V)``.
        proposal: The guesses.

    Attributes:
        right: How many of them were right, so far.
        is_ahead: Whether there are logits for the place the sequence is at.
    """

    def __init__(self, logits: Array, proposal: Proposal) -> None:
        self._logits = logits
        self.proposal = proposal
        self.right = 0
        self.is_ahead = True

    @property
    def newest(self) -> Array:
        """Logits ``(1, V)`` of the place the sequence is at."""
        return self._logits[self.right : self.right + 1]

    def take(self, token: int) -> None:
        """Compare a guess with the token chosen."""
        self.is_ahead = self.proposal.ids[self.right : self.right + 1] == [token]
        self.right += self.is_ahead
