"""Words that may not be generated, in whatever tokens they would be spelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from gpt1.text.detokenize import END_OF_WORD


class BadWords:
    """Finds the tokens that would complete a bad word.

    A text is the row of its words' characters. A bad word stands in it where its characters begin
    with a word and end with one, wherever else words begin in between: ``it's`` may be one word or
    three, and phrases count as well.

    Args:
        words: The characters of each bad word, without spaces, as the tokenizer spells them.
        pieces: The vocabulary string of every id.
    """

    def __init__(self, words: Sequence[str], pieces: Sequence[str]) -> None:
        ids = {piece: token for token, piece in enumerate(pieces)}
        self._pieces = pieces
        self._words = frozenset(words)
        self._longest = max(map(len, words))
        self._closing: dict[str, list[int]] = {}
        self._unfinished: dict[str, list[int]] = {}
        for word in self._words:
            self._index(word, ids)

    def _index(self, word: str, ids: Mapping[str, int]) -> None:
        """Note, for each beginning of a word, the tokens that are the rest of it."""
        for cut in range(len(word)):
            for table, end in ((self._closing, END_OF_WORD), (self._unfinished, "")):
                token = ids.get(word[cut:] + end)
                if token is not None:
                    table.setdefault(word[:cut], []).append(token)

    def forbidden(self, ids: Sequence[int], *, is_last: bool) -> tuple[bool, list[int]]:
        """What may not follow.

        Args:
            ids: The text so far.
            is_last: Whether the text ends behind the next token, and with it an unfinished word.

        Returns:
            Whether the text may end here, and ids that would complete a bad word.
        """
        beginnings = self._since_word_starts(ids)
        bad = [token for text in beginnings for token in self._closing.get(text, ())]
        if is_last:
            bad += [token for text in beginnings for token in self._unfinished.get(text, ())]
        is_open = bool(ids) and not self._pieces[ids[-1]].endswith(END_OF_WORD)
        return not (is_open and self._words.intersection(beginnings)), bad

    def _since_word_starts(self, ids: Sequence[int]) -> list[str]:
        """The characters since the start of each of the last words, no longer than a bad word."""
        recent = ids[-self._longest - 1 :]
        raw = "".join(self._pieces[token] for token in recent)
        words = raw.split(END_OF_WORD)
        if len(recent) == len(ids):
            words.insert(0, "")
        text = "".join(words)
        starts = accumulate(map(len, words[:-1]))
        return [text[start:] for start in starts if len(text) - start <= self._longest]
