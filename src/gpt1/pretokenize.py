"""The text pipeline of GPT-1's authors (paper, section 4.1): from text to lower-case English words.

Follows the released text code and spaCy 3.8's English tokenizer, whose words these are, without
spaCy. Runs in time linear in the text's length, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

from gpt1.text import english_rules as rules
from gpt1.text.repair import repair

_PLAIN = str.maketrans(dict.fromkeys("—–―", "-") | {"…": "...", "´": "'"})
_SEPARATOR_RUN = re.compile(rf"([{re.escape(rules.SEPARATORS)}])\1*")


def standardize(text: str) -> str:
    r"""Plain dashes and apostrophes, spaces round separators, single spaces.

    Args:
        text: Any text.

    Returns:
        Chunks with one space between them, and ``" \n "`` where lines that have chunks meet.

    Source: GPT-1's released text code.
    """
    spaced = _SEPARATOR_RUN.sub(r" \g<0> ", text.translate(_PLAIN))
    lines = (" ".join(line.split()) for line in spaced.split("\n"))
    return " \n ".join(filter(None, lines))


def words(text: str) -> list[str]:
    r"""The words of a text, in lower case; ``"\n"`` stands for each newline between lines.

    Args:
        text: Any text.

    Source: GPT-1's released text code.
    """
    found: list[str] = []
    for line in standardize(repair(text)).split(" \n "):
        found += map(str.lower, split_line(line))
        found.append("\n")
    return found[:-1]


def split_line(line: str) -> list[str]:
    """The words of a line of standardised text.

    Args:
        line: Chunks with single spaces between them, or nothing.

    Returns:
        Its words, in the case they are written in.
    """
    chunks = list(map(_split, line.split()))
    split: Iterable[Sequence[str]] = [chunk.words for chunk in chunks]
    if any(chunk.joinable for chunk in chunks):
        split = _join([*split])
    return list(chain.from_iterable(split))


def split_chunk(chunk: str) -> list[str]:
    """The words of a chunk that stands alone, as in `split_line`.

    Args:
        chunk: Standardised text without whitespace.

    Returns:
        Its words. In a line it may have others, if it `depends_on_neighbours`.
    """
    return split_line(chunk)


def depends_on_neighbours(chunk: str) -> bool:
    """Whether `split_line` may find other words in a chunk than `split_chunk` does.

    Rare: a special case must turn up only once the chunk is split (``x:p.``). Its parts are joined
    again, unless they also are parts of another, even across a space.

    Args:
        chunk: Standardised text without whitespace.
    """
    return _split(chunk).joinable


class _Chunk(NamedTuple):
    words: Sequence[str]
    joinable: bool  # whether some of the words are parts of a special case


def _split(chunk: str) -> _Chunk:
    return (_split_short if len(chunk) <= _SHORT else _split_any)(chunk)


def _split_any(chunk: str) -> _Chunk:
    special_cases = rules.special_cases()
    if chunk in special_cases:
        words = special_cases[chunk]
    elif chunk.isalpha() and chunk.isascii():
        words = (chunk,)
    elif chunk[:1] in rules.SEPARATORS:
        words = (chunk,) if chunk[:1] in rules.WHOLE_RUNS else tuple(chunk)
    elif (plain := _STEM_AND_TAIL.fullmatch(chunk)) and plain[1] not in special_stems():
        return _split_behind(*plain.groups())
    else:
        words = _cut(chunk, special_cases)
    joinable = len(words) > 1 and any(
        words[start:end] != joined for start, end, joined in _find_joinable(words)
    )
    return _Chunk(words, joinable)


_STEM_AND_TAIL = re.compile(r"([A-Za-z]{3,})((?:['’][sS])?[.:'’]*)")


@cache
def special_stems() -> frozenset[str]:
    """Stretches of letters in special cases, behind which a tail may be another than elsewhere."""
    cases = " ".join([*rules.special_cases(), rules.LOOKALIKES])
    return frozenset(re.findall(r"[A-Za-z]+", cases))


def _split_behind(stem: str, tail: str) -> _Chunk:
    """Split a plain word with a tail as the rules would, which only look at the word's end."""
    ending = "".join("q" if letter.islower() else "Q" for letter in stem[-2:])
    (first, *rest), joinable = split_tail(ending, tail)
    return _Chunk((stem + first[len(ending) :], *rest), joinable)


@lru_cache(maxsize=1 << 10)
def split_tail(ending: str, tail: str) -> _Chunk:
    """The words of a tail behind the last letters of any stem of three letters or more.

    Args:
        ending: Two letters, ``q`` for each small one and ``Q`` for each capital.
        tail: Of `_STEM_AND_TAIL`.

    Returns:
        The words, the first with the ending, and whether some of them may be parts of a special
        case.
    """
    return _split_any(ending + tail)


_SHORT = 32
_split_short = lru_cache(maxsize=1 << 15)(_split_any)


def _cut(chunk: str, special_cases: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The words of a chunk, special cases that show up while it is cut included."""
    starts, ends = _peel(chunk, special_cases)
    core = chunk[starts[-1] : ends[-1]]
    inside = special_cases.get(core) or _cut_inside(core)
    prefixes = [chunk[start:end] for start, end in pairwise(starts)]
    suffixes = [chunk[start:end] for end, start in pairwise(ends)]
    return tuple(filter(None, chain(prefixes, inside, reversed(suffixes))))


def _peel(chunk: str, special_cases: Container[str]) -> tuple[list[int], list[int]]:
    """Where prefixes and suffixes begin and end, and last, the core between them.

    Both ends are cut in turn until the core is a special case, or has neither.
    """

    def is_special(start: int, end: int) -> bool:
        # Slicing only what is short keeps this linear.
        return end - start <= rules.LONGEST_SPECIAL_CASE and chunk[start:end] in special_cases

    starts, ends = [0], [len(chunk)]
    while (start := starts[-1]) < (end := ends[-1]) and not is_special(start, end):
        front = _prefix_end(chunk, start, end)
        back = _suffix_start(chunk, front, end)
        if is_special(front, end):
            back = end
        elif is_special(start, back):
            front = start
        if (front, back) == (start, end):
            break
        starts.append(front)
        ends.append(back)
    return starts, ends


def _prefix_end(chunk: str, start: int, end: int) -> int:
    prefix = rules.prefix().match(chunk, start, end)
    return prefix.end() if prefix else start


def _suffix_start(chunk: str, start: int, end: int) -> int:
    if chunk.endswith("..", start, end):
        while end > start and chunk[end - 1] == ".":
            end -= 1
        return end
    # A slice, so that lookbehinds see nothing before the start.
    tail = chunk[max(start, end - rules.LONGEST_SUFFIX) : end]
    suffix = rules.suffix().search(tail)
    return end - len(tail) + suffix.start() if suffix else end


def _cut_inside(core: str) -> Sequence[str]:
    if _is_web_address(core):
        return (core,)
    cuts = (infix.span() for infix in rules.infix().finditer(core) if infix.start())
    bounds = [0, *chain.from_iterable(cuts), len(core)]
    return [core[start:end] for start, end in pairwise(bounds)]


def _is_web_address(core: str) -> bool:
    """Whether the chunk is a host, with anything that ends in ``@`` before it."""
    if "." not in core:
        return False
    starts = (user.end() for user in re.finditer(r"(?<!^)@", core))
    return any(_is_host_at(core, start) for start in (0, *starts))


def _is_host_at(core: str, start: int) -> bool:
    if rules.ip_address().match(core, start):
        return True
    name, label, last_label, after = rules.host()
    found = name.match(core, start)
    if not found or not after.match(core, found.end()):
        return False
    labels, dot, last = found[0].rpartition(".")
    return bool(dot and last_label.fullmatch(last)) and all(map(label.fullmatch, labels.split(".")))


@cache
def _joinable() -> dict[int, dict[tuple[str, ...], tuple[str, ...]]]:
    """What other rules make of special cases, and their words, by length; longest first."""
    found = {_cut(case, {}): words for case, words in rules.special_cases().items()}
    found |= {(words := tuple(case.split())): words for case in rules.LOOKALIKES.split("|")}
    lengths = sorted({*map(len, found)} - {1}, reverse=True)
    return {
        length: {parts: words for parts, words in found.items() if len(parts) == length}
        for length in lengths
    }


def _find_joinable(words: Sequence[str]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Start, end and replacement of special cases among words, longest first, then leftmost."""
    for length, cases in _joinable().items():
        for start in range(len(words) - length + 1):
            parts = tuple(words[start : start + length])
            if parts in cases:
                yield start, start + length, cases[parts]


def _join(chunks: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Join what has been split of special cases, where nothing overlaps them that comes earlier.

    What spans chunks is left as it is, and yet keeps what it overlaps from being joined.
    """
    words = list(chain.from_iterable(chunks))
    homes = [number for number, chunk in enumerate(chunks) for _ in chunk]
    joined: list[Sequence[str]] = [(word,) for word in words]
    seen = bytearray(len(words))
    for start, end, case in _find_joinable(words):
        if homes[start] == homes[end - 1] and not (seen[start] or seen[end - 1]):
            joined[start:end] = case, *[()] * (end - start - 1)
        seen[start:end] = b"1" * (end - start)
    return joined
