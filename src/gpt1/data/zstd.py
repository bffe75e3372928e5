"""Files packed by zstd, read by the library `zstandard`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from gpt1.errors import MissingExtraError

_CHUNK_BYTES = 1 << 17
_WINDOW_BYTES = 1 << 31  # what `zstd --long=31` writes is read as well


def open_zst(file: str | Path | BinaryIO, mode: str = "rb") -> BinaryIO:
    """Open like `gzip.open`; the library's own reader takes a file cut short for a whole one.

    Args:
        file: Its path, or the packed bytes.
        mode: "rb".

    Returns:
        The unpacked bytes. Reading raises `EOFError` where the file is cut short, and
        `zstandard.ZstdError` where it is something else.

    Raises:
        MissingExtraError: If `zstandard` is not installed.
    """
    try:
        import zstandard  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            f'unpacking {file} needs zstandard: pip install "gpt1[data]"'
        ) from None
    raw = Path(file).open(mode) if isinstance(file, (str, Path)) else file  # noqa: SIM115
    return cast(BinaryIO, io.BufferedReader(_Unpacked(cast(BinaryIO, raw)), _CHUNK_BYTES))


class _Unpacked(io.RawIOBase):
    """A raw stream over unpacked pieces."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._pieces = _unpack(raw)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._piece:
            try:
                self._piece = memoryview(next(self._pieces))
            except StopIteration:
                return 0
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def _unpack(raw: BinaryIO) -> Iterator[bytes]:
    """Pieces of all frames, which follow one another."""
    from zstandard import ZstdDecompressor

    frame = None
    while packed := raw.read(_CHUNK_BYTES):
        while packed:
            if frame is None or frame.eof:
                frame = ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj()
            yield frame.decompress(packed)
            packed = frame.unused_data
    if frame is not None and not frame.eof:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")
