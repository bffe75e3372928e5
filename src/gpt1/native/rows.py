"""Tables of texts, and texts in rows of one length, by the C++ library: see `csrc/rows.cpp`."""

from __future__ import annotations

import ctypes
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt1.native.library import library

Places: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Row, offset in the row and number in the row of each text."""


class Table(NamedTuple):
    """What a column is read from.

    Attributes:
        delimiter: Between fields.
        width: Fields of a row, at most.
        column: Number of the wanted one, from 0.
    """

    delimiter: str
    width: int
    column: int


class Column(NamedTuple):
    """What was read of a column.

    Attributes:
        texts: Each with a zero byte behind it.
        read: How much of the data they are from: all complete rows, or those before a wrong one.
        is_wrong: Whether a wrong row follows.
    """

    texts: bytes
    read: int
    is_wrong: bool


def csv_column(table: Table, data: bytes, *, is_last: bool) -> Column | None:
    """One column of the rows at the beginning of the data, as Python's strict csv reader reads it.

    Args:
        table: Which column, of what.
        data: Begins with a row; no byte is zero.
        is_last: Whether nothing follows.

    Returns:
        None where there is no library.
    """
    loaded = library()
    if loaded is None:
        return None
    texts = ctypes.create_string_buffer(len(data) + 1)
    written, is_wrong = ctypes.c_int64(), ctypes.c_int32()
    read = loaded.gpt1_csv_column(
        *(data, len(data), table.delimiter.encode(), table.width, table.column, is_last),
        *(texts, ctypes.byref(written), ctypes.byref(is_wrong)),
    )
    return Column(ctypes.string_at(texts, written.value), read, bool(is_wrong.value))


def place(lengths: NDArray[np.int64], seq_len: int) -> Places | None:
    """Where in rows texts go: see `gpt1.data.packing`.

    Args:
        lengths: ``(R,)``: of the texts, in ascending order, each from 1 to ``seq_len``.
        seq_len: Tokens of a row.

    Returns:
        None where there is no library.
    """
    loaded = library()
    if loaded is None:
        return None
    lengths = np.ascontiguousarray(lengths, np.int64)
    rows, offsets, segments = (np.empty(len(lengths), np.int64) for _ in range(3))
    places = (rows.ctypes.data, offsets.ctypes.data, segments.ctypes.data)
    loaded.gpt1_place(lengths.ctypes.data, len(lengths), seq_len, *places)
    return rows, offsets, segments


class Texts(NamedTuple):
    """Texts to place.

    Attributes:
        ids: ``(N,)``, int32.
        starts: ``(R,)``: where in ``ids`` each text begins.
        lengths: ``(R,)``.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def fill(
    texts: Texts, places: Places, seq_len: int, padding: int, ignored: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]] | None:
    """Rows with the texts in their places, and padding behind them.

    Args:
        texts: Which.
        places: As of `place`.
        seq_len: Tokens of a row.
        padding: Id of padding.
        ignored: Label of padding.

    Returns:
        Ids, segments and labels, as of `gpt1.data.packing.PackedTexts`; None where there is no
        library.
    """
    loaded = library()
    if loaded is None:
        return None
    height = int(places[0].max()) + 1
    found = [np.empty((height, seq_len), np.int32) for _ in range(3)]
    ids = np.ascontiguousarray(texts.ids, np.int32)
    others = (texts.starts, texts.lengths, *places)
    arrays = [np.ascontiguousarray(array, np.int64) for array in others]
    addresses = [ids.ctypes.data, *(array.ctypes.data for array in arrays)]
    to = (ctypes.c_void_p * 3)(*(array.ctypes.data for array in found))
    loaded.gpt1_fill(
        *(*addresses[:3], len(arrays[0]), *addresses[3:], height, seq_len, padding, ignored, to)
    )
    input_ids, segment_ids, labels = found
    return input_ids, segment_ids, labels
