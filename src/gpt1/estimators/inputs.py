"""What users pass as X and y, as lists: of texts, of pairs, of choices, of labels.

Lists, NumPy arrays, and the columns and frames of pandas and polars, told by what they can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gpt1.errors import DataError
from gpt1.tasks.columns import choose_columns
from gpt1.tasks.example import Example, choice
from gpt1.tasks.own import options_of

Data: TypeAlias = Any
"""A list, array, column or frame."""

NO_TEXTS = (str, bytes, Mapping)
"""What has a length but holds no rows."""


def texts(x: Data) -> list[str]:
    """The texts of X: a list, a column, or a frame or array of one column.

    Raises:
        DataError: If X is one text, has more columns, or a row is not a text.
    """
    _refuse_one(x, "texts", "[text]")
    columns = _columns(x)
    if columns is not None and len(columns) != 1:
        raise DataError(
            f"X has {len(columns)} columns ({', '.join(columns)}) but one text a row is read; "
            "pass one of them, such as X['text']"
        )
    values = next(iter(columns.values())) if columns else listed(x)
    return [_text(value, f"X[{row}]") for row, value in enumerate(values)]


def pairs(x: Data) -> list[tuple[str, str]]:
    """The pairs of X: a list of pairs, or a frame or array of two columns.

    Raises:
        DataError: If X is one text, has other columns, or a row is not two texts.
    """
    _refuse_one(x, "pairs", "[(first, second)]")
    columns = _columns(x)
    if columns is not None and len(columns) != 2:
        raise DataError(
            f"X has {len(columns)} columns ({', '.join(columns)}) but two texts a row are read; "
            "pass two of them, such as X[['premise', 'hypothesis']]"
        )
    rows = list(zip(*columns.values(), strict=True)) if columns else listed(x)
    return [_pair(value, f"X[{row}]") for row, value in enumerate(rows)]


def choices(x: Data) -> list[Example]:
    """The choices of X, as examples without a label.

    Args:
        x: A list of ``(context, [option, ...])``, where the context may be several texts; or a list
            of dicts, or a frame, with a column of contexts and one of lists of options, or
            columns such as option1, option2, ... in which the last may be empty.

    Raises:
        DataError: If X is one text, the columns cannot be told, or a row is not a choice.
    """
    _refuse_one(x, "choices", "[(context, [option, ...])]")
    columns = None if isinstance(x, np.ndarray) else _columns(x)
    rows: Sequence[Any] = listed(x) if columns is None else []
    if columns is not None:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if rows and all(isinstance(row, Mapping) for row in rows):
        rows = _from_columns(rows)
    return [_choice(value, f"X[{row}]") for row, value in enumerate(rows)]


def labels(y: Data, rows: int) -> list[Any]:
    """The labels of y as plain strings, booleans and numbers, as many as X has rows.

    Raises:
        DataError: If there is none, or another number, or one is missing.
    """
    if y is None:
        raise DataError("y is None, but there is nothing to learn without labels")
    columns = _columns(y)
    if columns is not None and len(columns) != 1:
        raise DataError(f"y has {len(columns)} columns but must be one label a row")
    values = next(iter(columns.values())) if columns else listed(y)
    if len(values) != rows:
        raise DataError(f"X has {rows} rows but y has {len(values)} labels; they must be as many")
    if not values:
        raise DataError("X has no rows; there is nothing to learn from")
    return [_label(value, row) for row, value in enumerate(values)]


def listed(values: Data) -> list[Any]:
    """The rows of a list, array or column."""
    for name in ("to_list", "tolist"):
        convert: Callable[[], Any] | None = getattr(values, name, None)
        if convert is not None:
            converted = convert()
            return converted if isinstance(converted, list) else [converted]
    try:
        return list(values)
    except TypeError:
        raise DataError(
            f"{_kind(values)} was passed where a list, an array, a column or a frame is read"
        ) from None


def _columns(values: Data) -> dict[str, list[Any]] | None:
    """The columns of a frame, or of an array with two axes; None for other things."""
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return {str(number): column.tolist() for number, column in enumerate(values.T)}
    if not hasattr(values, "columns"):
        return None
    return {str(name): listed(values[name]) for name in values.columns}


def _refuse_one(x: Data, what: str, example: str) -> None:
    if x is None or isinstance(x, NO_TEXTS):
        raise DataError(f"X is {_kind(x)} but must be a list of {what}, such as {example}")


def _kind(value: object) -> str:
    if value is None or value != value:  # nan
        return str(value)
    name = type(value).__name__
    return f"one {name} ({value!r:.40})"


def _text(value: Any, place: str) -> str:
    if isinstance(value, str):
        return str(value)
    try:
        shown = repr(value)
    except Exception:  # whatever an object of another library does
        shown = "something"
    raise DataError(
        f"{place} is {shown:.40} ({type(value).__name__}) but must be a text; fill or leave out "
        "rows without one"
    )


def _pair(value: Any, place: str) -> tuple[str, str]:
    if isinstance(value, NO_TEXTS) or not hasattr(value, "__len__") or len(value) != 2:
        raise DataError(f"{place} is {value!r:.60} but must be two texts, (first, second)")
    first, second = value
    return _text(first, f"{place}[0]"), _text(second, f"{place}[1]")


def _choice(value: Any, place: str) -> Example:
    if isinstance(value, NO_TEXTS) or not hasattr(value, "__len__") or len(value) != 2:
        raise DataError(f"{place} is {value!r:.60} but must be (context, [option, ...])")
    context, options = value
    parts = [context] if isinstance(context, str) else _parts(context, f"the context of {place}")
    try:
        return choice(
            [_text(part, f"the context of {place}") for part in parts],
            [_text(option, f"an option of {place}") for option in _parts(options, place)],
        )
    except DataError as error:
        raise error if place in str(error) else DataError(f"{place}: {error}") from None


def _parts(value: Any, place: str) -> list[Any]:
    if isinstance(value, NO_TEXTS) or value is None:
        raise DataError(f"{place} has {value!r:.60} where a list of texts is read")
    return listed(value)


def _from_columns(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    """Contexts and options of rows with names."""
    cleaned = [{str(name): _cell(value) for name, value in row.items()} for row in rows]
    columns = choose_columns(cleaned, need_label=False)
    if not columns.options:
        raise DataError(
            f"cannot tell which columns are the options; the columns are {', '.join(cleaned[0])}; "
            "call them context and options (lists of texts), or option1, option2 and so on"
        )
    [context] = columns.texts
    return [(row.get(context), options_of(row, columns)) for row in cleaned]


def _cell(value: Any) -> Any:
    """A text or a list as it is; None for all else, such as the empty cell of a frame."""
    return value if isinstance(value, str) else listed(value) if _has_rows(value) else None


def _has_rows(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, NO_TEXTS)


def _label(value: Any, row: int) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | bool | int | float) or value != value:
        raise DataError(
            f"y[{row}] is {value} but must be a string or a number; leave out rows without a label"
        )
    return value
