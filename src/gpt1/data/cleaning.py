"""What is done to a document before it becomes tokens: one pure function for each step.

The quality rules follow those of Gopher (Rae et al. 2021, appendix A.1). A step knows nothing but
its text, so any pipeline may call it, in any order and process.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Any

from gpt1.config import CleaningConfig
from gpt1.data.documents import EMPTY, Document, Dropped
from gpt1.data.gutenberg import strip_gutenberg
from gpt1.errors import ConfigError, MissingExtraError
from gpt1.text.repair import repair

SAMPLE_CHARS = 2000
"""Characters at the beginning, in the middle and at the end by which a language is told."""

_WORD = re.compile(r"\w+")
_ASCII = bytes(range(128))
_BLANKS = bytes(byte for byte in _ASCII if chr(byte).isspace())
# The punctuation among them is that of code and markup; the rest of it is that of prose.
_SYMBOLS = b"#%&*/@\\_{}[]" + bytes(
    byte for byte in _ASCII if unicodedata.category(chr(byte))[0] in "SC" and byte not in _BLANKS
)


def clean(document: Document, config: CleaningConfig) -> Document | Dropped:
    """A document as it shall be tokenised, or why it shall not be.

    Duplicates are another matter, since they depend on other documents: see
    `gpt1.data.duplicates`.

    Args:
        document: As it was read.
        config: The steps.

    Raises:
        ConfigError: If the language is not one that can be told.
        MissingExtraError: If a language is asked for and py3langid is not installed.
    """
    text = tidy(document.text, config)
    reason = fault(text, config)
    return Dropped(document.name, reason) if reason else document._replace(text=text)


def tidy(text: str, config: CleaningConfig) -> str:
    """The text with the changes that are switched on."""
    if config.gutenberg:
        text = strip_gutenberg(text)
    return repair(text) if config.repair else text


def fault(text: str, config: CleaningConfig) -> str | None:
    """The first reason for which the text is left out, None if it is kept."""
    if not text.strip():
        return EMPTY
    if is_too_short(text, config.min_words):
        return "too short"
    if config.max_symbol_share < 1 and symbol_share(text) > config.max_symbol_share:
        return "symbols"
    if config.max_repeated_lines < 1 and repeated_share(text) > config.max_repeated_lines:
        return "repeated lines"
    if config.language and language_of(text) != _known_language(config.language):
        return "language"
    return None


def is_too_short(text: str, min_words: int) -> bool:
    """Whether a text has less than ``min_words`` words; a long one is not read to its end."""
    words = _WORD.finditer(text)
    return any(next(words, None) is None for _ in range(min_words))


def symbol_share(text: str) -> float:
    r"""Share of symbols among the characters that are not blank; 0 for a blank text.

    Symbols are what Unicode counts as such or as control characters (categories S and C), and
    ``# % & * / @ \ _ { } [ ]``.
    """
    data = text.encode("utf-8", "replace")
    blanks = len(data) - len(data.translate(None, _BLANKS))
    symbols = len(data) - len(data.translate(None, _SYMBOLS))
    others = data.translate(None, _ASCII).decode()  # few, and counting one of them is fast
    for char in set(others):
        if char.isspace():
            blanks += others.count(char)
        elif unicodedata.category(char)[0] in "SC":
            symbols += others.count(char)
    return symbols / max(len(text) - blanks, 1)


def repeated_share(text: str) -> float:
    """Share of the text, in characters, that stands in lines which occurred before in it.

    Blanks at the ends of lines do not count.
    """
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0


def language_of(text: str) -> str:
    """The language of a text as a code of ISO 639-1, told by three samples of it.

    Raises:
        MissingExtraError: If py3langid is not installed.
    """
    middle = max(len(text) - SAMPLE_CHARS, 0) // 2
    samples = text[:SAMPLE_CHARS], text[middle:][:SAMPLE_CHARS], text[-SAMPLE_CHARS:]
    sample = text if len(text) <= 3 * SAMPLE_CHARS else "\n".join(samples)
    return str(_identifier().classify(sample)[0])


def _known_language(code: str) -> str:
    known = _identifier().labels
    if code not in known:
        raise ConfigError(f"language is {code!r} but must be one of {', '.join(sorted(known))}")
    return code


@functools.cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise MissingExtraError(
            'telling languages apart needs py3langid: pip install "gpt1[data]"'
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE)
