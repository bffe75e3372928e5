"""Prompts from a file or a pipe, one a line, plain or in JSON objects; read as they are needed."""

from __future__ import annotations

import json
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gpt1.data.files import OPENERS
from gpt1.errors import DataError

JSON_SUFFIXES = (".jsonl", ".ndjson")
"""Endings of files with a JSON object a line, before a .gz or .xz."""

STANDARD_INPUT = "-"
"""Stands for standard input where a file is named."""


@dataclass(frozen=True)
class Prompt:
    """A text to continue.

    Attributes:
        text: As it was written.
        place: Source and line, for messages; empty for the argument of a command.
        id: What the JSON object had under ``id``.
        end: Bytes of the source up to the end of its line.
    """

    text: str
    place: str = ""
    id: Any = None
    end: int = 0


class PromptFile:
    """The prompts of a file or of standard input; blank lines are skipped.

    Args:
        name: Path of a text file or, by its ending, of JSON lines, also as .gz or .xz; ``-`` is
            standard input.
        field: Key of the text; given, every line is a JSON object. Default: ``prompt``, in a file
            whose ending says so.

    Attributes:
        size_bytes: Of a plain file; None if that is not known.

    Raises:
        DataError: If the file cannot be opened.
    """

    def __init__(self, name: str, field: str | None = None) -> None:
        self.name = "standard input" if name == STANDARD_INPUT else name
        suffixes = [suffix.lower() for suffix in Path(name).suffixes]
        packed = suffixes.pop() if suffixes and suffixes[-1] in OPENERS else ""
        is_json = field is not None or (suffixes and suffixes[-1] in JSON_SUFFIXES)
        self._field = (field or "prompt") if is_json else None
        self._stream = self._open(name, packed)
        self.size_bytes = None if packed else _size_of(self._stream)

    def _open(self, name: str, packed: str) -> BinaryIO:
        if name == STANDARD_INPUT:
            return sys.stdin.buffer
        try:
            stream: BinaryIO = OPENERS.get(packed, open)(name, "rb")
        except OSError as error:
            raise DataError(f"cannot read {name}: {error.strerror}; check the path") from error
        return stream

    def __iter__(self) -> Iterator[Prompt]:
        """Yield the prompts, once.

        Raises:
            DataError: If a line is not UTF-8 or not the JSON it should be; it names the line.
        """
        end = 0
        for number, raw in enumerate(self._lines(), start=1):
            place = f"{self.name}, line {number}"
            line = _decoded(raw, place, end)
            end += len(raw)
            if line.strip():
                yield self._prompt(line, place, end)

    def _lines(self) -> Iterator[bytes]:
        try:
            with self._stream as stream:
                yield from stream
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise DataError(f"cannot read {self.name}: {error}") from error

    def _prompt(self, line: str, place: str, end: int) -> Prompt:
        if self._field is None:
            return Prompt(line, place, None, end)
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{place}: not JSON: {error.msg} at column {error.colno}") from None
        text = row.get(self._field) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise DataError(
                f"{place}: expected a JSON object with a text under {self._field!r} and got "
                f"{line:.60}; --prompt-field names another key"
            )
        prompt = Prompt(text, place, row.get("id"), end)
        _check_encodable(prompt)
        return prompt


def _size_of(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # not a file of the operating system
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _decoded(raw: bytes, place: str, offset: int) -> str:
    """A line without its end and, at the very beginning, without a byte-order mark."""
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: not UTF-8: byte {offset + error.start} of the input: {error.reason}; "
            "convert the prompts to UTF-8"
        ) from None
    line = line.rstrip("\r\n")
    return line if offset else line.removeprefix("\ufeff")


def _check_encodable(prompt: Prompt) -> None:
    """JSON can spell half of a surrogate pair, which is no character."""
    try:
        json.dumps([prompt.text, prompt.id], ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{prompt.place}: the JSON escape of half a character, "
            f"\\u{ord(error.object[error.start]):04x}, without its other half"
        ) from None
