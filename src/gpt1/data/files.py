"""Files as they come: packed or not, on this machine or behind a URL, as bytes or as UTF-8 text."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from gpt1.data.zstd import open_zst
from gpt1.errors import DataError, MissingExtraError

OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".zst": open_zst,
}
"""What unpacks a file, by its ending."""
PACKED = "also as .gz, .xz or .zst"


def file_kind(file: Path) -> str:
    """The kind of a file by its name, such as ".csv", whether it is compressed or not."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def place_of(path: str | Path) -> Path:
    """A path, or what is used like one for a URL that fsspec knows, such as ``s3://bucket/books``.

    Raises:
        DataError: If there is no such kind of URL.
        MissingExtraError: If it is a URL and universal-pathlib is not installed.
    """
    if "://" not in str(path):
        return Path(path)
    try:
        from upath import UPath
    except ImportError:
        raise MissingExtraError(
            f'reading {path} needs universal-pathlib: pip install "gpt1[data]"'
        ) from None
    try:
        return cast(Path, UPath(path))
    except (ValueError, ImportError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def is_remote(place: Path) -> bool:
    """Whether it is behind a URL."""
    return not isinstance(place, Path)


@contextmanager
def open_bytes(file: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked on the way.

    Raises:
        DataError: If it cannot be unpacked.
    """
    with file.open("rb") as raw:
        opener = OPENERS.get(file.suffix.lower())
        try:
            if opener is None:
                yield raw
            else:
                with opener(raw, "rb") as stream:
                    yield stream
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{file} cannot be unpacked: {error}") from None
        except Exception as error:
            if type(error).__name__ != "ZstdError":  # its library need not be there
                raise
            raise DataError(f"{file} cannot be unpacked: {error}") from None


@contextmanager
def open_text(file: Path, newline: str = "") -> Iterator[TextIO]:
    """The file as UTF-8 text, unpacked on the way; a byte-order mark is skipped.

    Args:
        file: One of any kind, also packed.
        newline: What ends a line, as in `open`; default: any usual end, kept as it is.

    Raises:
        DataError: If it is not UTF-8 (with the offset of the first wrong byte) or cannot be
            unpacked.
    """
    with open_bytes(file) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline=newline) as stream:
        try:
            yield stream
        except UnicodeDecodeError as error:
            offset = _bad_byte(file)
            raise DataError(f"{file} is not UTF-8: byte {offset}: {error.reason}") from None


def _bad_byte(file: Path) -> int:
    """Offset of the first byte that is not UTF-8."""
    offset = 0
    with open_bytes(file) as raw:
        for line in raw:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return offset + error.start
            offset += len(line)
    return offset


def utf8_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """The lines of a stream of UTF-8, as they come.

    Args:
        stream: Bytes.
        name: Of the stream, for messages.

    Raises:
        DataError: If it is not UTF-8, with the offset of the first wrong byte.
    """
    offset = 0
    for line in stream:
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            wrong = offset + error.start
            raise DataError(f"{name} is not UTF-8: byte {wrong}: {error.reason}") from None
        offset += len(line)
