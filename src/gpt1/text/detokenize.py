"""Readable text from vocabulary pieces, as they arrive.

BPE within words forgets where spaces stood. `Detokenizer` puts them back by tables of English
habits, for the words of both text pipelines: ``i ' m`` and ``i 'm``, ``. . .`` and ``...``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Sequence
from enum import Enum
from typing import NamedTuple

from gpt1.errors import TokenizerError

END_OF_WORD = "</w>"


class Hug(Enum):
    """Which neighbours a word touches: (the word before it, the word after it)."""

    NONE = (False, False)
    BEFORE = (True, False)
    AFTER = (False, True)
    BOTH = (True, True)


class Rule(NamedTuple):
    """How a word stands between certain neighbours."""

    before: re.Pattern[str]  # what the text since the last space must end with
    after: re.Pattern[str]  # what the whole next word must be, "" at the end of the text
    hug: Hug


def _rule(before: str, after: str, hug: Hug) -> Rule:
    return Rule(re.compile(rf"(?:{before})\Z"), re.compile(after), hug)


_ANY = r".*"
_NUMBER = r"\d+"
_LETTER = r"[^\W\d_]"
_SPEECH = r"says|said|asks|asked|replies|replied|yells|answers"
# After these a dash is likelier than a hyphen: they start clauses and rarely end a compound.
_CLAUSE = r"i|you|he|she|we|they|but|because|who|that|there|if|my"

SETTLED = {
    **dict.fromkeys([*".,!?;:)]}%"], Hug.BEFORE),
    **dict.fromkeys("([{$#@", Hug.AFTER),
    **dict.fromkeys(["n't", "'s", "'m", "'re", "'ve", "'ll", "'d"], Hug.BEFORE),
    **dict.fromkeys("/\n", Hug.BOTH),
}
"""Words, and characters words consist of, that stand the same way everywhere no rule applies."""

PAIRED = frozenset("\"'*")
"""Marks that open and close in turn where no rule applies."""

RULES = {
    "'": (
        _rule(r"\w", r"s|t|m|re|ve|ll|d", Hug.BOTH),
        _rule(r"\b([odly]|ma)", rf"{_LETTER}+", Hug.BOTH),
        _rule(_ANY, r"em|cause|til|tis|twas|n|bout|\d\ds?", Hug.AFTER),
        # Plural owners and clipped -ing (the dogs' tails, goin' home), not a quotation.
        _rule(rf"^(?!({_SPEECH}|is|was|as|his|this|in)$).*(s|\w\win)", r"\w+", Hug.BEFORE),
        _rule(_ANY, r'[.,;!?:)"]?', Hug.BEFORE),
    ),
    '"': (
        _rule(rf":|\b({_SPEECH})", r"\w+", Hug.AFTER),
        _rule(_ANY, r"", Hug.BEFORE),
    ),
    "-": (
        _rule(r"-", _ANY, Hug.BEFORE),
        _rule(_ANY, r"-", Hug.AFTER),
        _rule(_ANY, _CLAUSE, Hug.NONE),
        _rule(r"\w", r"\w+", Hug.BOTH),
    ),
    ".": (
        _rule(r"\d", _NUMBER, Hug.BOTH),
        _rule(r"\w", r"com|org|net|edu", Hug.BOTH),
        _rule(r"\bwww(\.\w+)*", r"\w+", Hug.BOTH),
        # Initials (u.s., p.m.); "a" and "i" go on only what has begun, else they start a sentence.
        _rule(rf"(^|[^\w'.]){_LETTER}", r"[b-hj-z]", Hug.BOTH),
        _rule(rf"\b{_LETTER}\.{_LETTER}", _LETTER, Hug.BOTH),
    ),
    ",": (_rule(r"\b\d{1,3}(,\d{3})*", r"\d{3}", Hug.BOTH),),
    ":": (
        _rule(r"\b\d{1,2}", r"\d\d", Hug.BOTH),
        _rule(_ANY, r"[()]", Hug.AFTER),
    ),
    "/": (_rule(r"\bw", r"(?!o$).*", Hug.BEFORE),),
    "_": (
        _rule(r"_", _ANY, Hug.BEFORE),
        _rule(_ANY, r"_", Hug.AFTER),
        _rule(_ANY, _ANY, Hug.BOTH),
    ),
    "*": (_rule(r"\b(f|sh|b|c|d|p)", r"\w+", Hug.BOTH),),
    "&": (_rule(rf"\b{_LETTER}{{1,2}}", rf"{_LETTER}{{1,2}}", Hug.BOTH),),
    "na": (_rule(r"\b(gon|wan)", _ANY, Hug.BEFORE),),
    "ta": (_rule(r"\bgot", _ANY, Hug.BEFORE),),
}
"""For each word whose stand depends on its neighbours: its rules, the first that fits counting."""


class Detokenizer:
    """Spaces the words of a vocabulary for people; text once returned never changes.

    A word waits until ``</w>`` ends it, and one in `RULES` until the next word is known. Hyphen and
    dash look the same (``well - known``): between two words it is a hyphen, unless the second is
    one of `_CLAUSE`. Quotation marks open and close in turn; a newline closes all.
    """

    _RUN_CHARS = 32

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._unfinished = ""
        self._waiting: str | None = None
        self._run = ""  # the text since the last space
        self._spaced = False  # whether the next word may have a space before it
        self._open: set[str] = set()

    def push(self, piece: str) -> str:
        """Add a vocabulary piece, for example ``cu`` or ``te</w>``.

        Returns:
            The text that is now final; it may be empty.
        """
        self._unfinished += piece
        if not piece.endswith(END_OF_WORD):
            return ""
        word, self._unfinished = self._unfinished.removesuffix(END_OF_WORD), ""
        return self._add(word)

    def flush(self) -> str:
        """End the text.

        Returns:
            The text still held back. The next piece starts a new text.
        """
        text = self._add(self._unfinished) if self._unfinished else ""
        if self._waiting is not None:
            text += self._place(self._waiting, after="")
        self._restart()
        return text

    def _add(self, word: str) -> str:
        text = "" if self._waiting is None else self._place(self._waiting, after=word)
        self._waiting = word if word in RULES else None
        return text if word in RULES else text + self._place(word, after="")

    def _place(self, word: str, after: str) -> str:
        hug = self._hug(word, after)
        hugs_before, hugs_after = hug.value
        text = word if hugs_before or not self._spaced else f" {word}"
        self._spaced = not hugs_after
        self._run = (self._run + text)[-self._RUN_CHARS :].rpartition(" ")[2]
        if word == "\n":
            self._run = ""
            self._open.clear()
        if hug is Hug.AFTER:
            self._open.add(word)
        elif hug is Hug.BEFORE:
            self._open.discard(word)
        return text

    def _hug(self, word: str, after: str) -> Hug:
        for rule in RULES.get(word, ()):
            if rule.before.search(self._run) and rule.after.fullmatch(after):
                return rule.hug
        if word in PAIRED:
            return Hug.BEFORE if word in self._open else Hug.AFTER
        mark = word[0] if len(set(word)) == 1 else word
        return SETTLED.get(mark, Hug.NONE)


class TokenStream:
    """Turns ids that arrive one at a time into readable text; made by `Tokenizer.detokenizer`."""

    def __init__(self, words: Sequence[str], skipped: Collection[int]) -> None:
        """Decode with ``words[id]``, the piece of each id, leaving out the ids in ``skipped``."""
        self._words = words
        self._skipped = frozenset(skipped)
        self._detokenizer = Detokenizer()

    def push(self, token_id: int) -> str:
        """Return the text that ``token_id`` makes final; it may be empty.

        Raises:
            TokenizerError: If the id is outside the vocabulary.
        """
        token_id = checked_id(token_id, len(self._words))
        return "" if token_id in self._skipped else self._detokenizer.push(self._words[token_id])

    def flush(self) -> str:
        """Return the text still held back."""
        return self._detokenizer.flush()


def checked_id(token_id: int, vocab_size: int) -> int:
    """Return ``token_id`` as a plain int.

    Raises:
        TokenizerError: If it is outside ``[0, vocab_size)``.
    """
    index = operator.index(token_id)
    if not 0 <= index < vocab_size:
        raise TokenizerError(f"token id {index} is outside the vocabulary: 0 to {vocab_size - 1}")
    return index
