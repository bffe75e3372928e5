"""A task of one's own from a table: the layout and what the labels mean are told by the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal, NamedTuple

from gpt1.data.rows import BadRow
from gpt1.errors import ConfigError, DataError
from gpt1.tasks.columns import Columns, choose_columns, is_number
from gpt1.tasks.example import Example, Label, Layout, choice, pair, similarity, text
from gpt1.tasks.locating import locate
from gpt1.tasks.tables import table_rows
from gpt1.tasks.task import Row, Task

SHOWN_CLASSES = 6
_log = logging.getLogger(__name__)


class Meaning(NamedTuple):
    """What labels mean.

    Attributes:
        read: The label of a row, given its value, which is not None, and the row's options.
        classes: Names of the classes; empty for values and choices.
        sentence: For people: what they are, and how that is known.
    """

    read: Callable[[Any, Sequence[str]], Label]
    classes: tuple[str, ...]
    sentence: str


def own_task(
    file: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    layout: Literal["pair", "similarity"] = "pair",
    need_label: bool = True,
) -> Task:
    """The task a table of labelled texts is for. What it is taken for is logged.

    Args:
        file: A .csv, .tsv, .jsonl or .parquet file of training data, or a folder with one.
        columns: Which column holds what, see `gpt1.tasks.columns.choose_columns`; those that are
            not named are found.
        layout: Of two texts: "pair" where their order matters, else "similarity".
        need_label: Refuse a table without a label, which can only be predicted.

    Returns:
        A task of the file's name, to read the file and others of the same columns with.

    Raises:
        ConfigError: If the layout is "similarity", but there are not two texts.
        DataError: If there is no row, a column that is named is not there, it cannot be told which
            column holds what, or the labels cannot be understood.
    """
    reader = Task(name=Path(file).name.partition(".")[0], transform=_no_example, tsv_quotes=True)
    [path, *_] = locate(reader, Path(file), "train").files
    rows = [row for _, row in table_rows(reader, path) if not isinstance(row, BadRow)]
    if not rows:
        raise DataError(f"{path} has no rows; it needs at least one to tell what its columns are")
    try:
        chosen = choose_columns(rows, columns, need_label=need_label)
        meaning = _meaning(rows, chosen)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    kind: Layout = "choice" if chosen.options else layout if len(chosen.texts) == 2 else "text"
    where = ", ".join(map(repr, chosen.texts + chosen.options))
    if layout == "similarity" and kind != "similarity":
        raise ConfigError(
            f"layout is 'similarity', but {path} has not two texts to compare, only {where}"
        )
    _log.info("%s: layout %s of %s; %s", path.name, kind, where, meaning.sentence)
    return Task(
        name=reader.name,
        transform=lambda row: _example(row, chosen, meaning, kind),
        classes=meaning.classes,
        label=chosen.label,
        tsv_quotes=True,
    )


def _no_example(row: Row) -> Example:
    raise DataError("this task only reads rows")


def _example(row: Row, columns: Columns, meaning: Meaning, layout: Layout) -> Example:
    options = options_of(row, columns)
    value = row[columns.label] if columns.label else None
    label: Any = None if value is None else meaning.read(value, options)
    first, *others = (row[name] for name in columns.texts)
    if layout == "choice":
        return choice(first, options, label)
    if layout == "text":
        return text(first, label)
    make = similarity if layout == "similarity" else pair
    return make(first, others[0], label)


def options_of(row: Row, columns: Columns) -> list[str]:
    """The options of a row: of a list, or of columns, where those at the end may be empty."""
    if len(columns.options) == 1:
        listed = row.get(columns.options[0])
        return [str(option) for option in listed] if isinstance(listed, list) else []
    options = [row.get(name) or "" for name in columns.options]
    while options and not options[-1]:
        options.pop()
    return options


def _meaning(rows: Sequence[Row], columns: Columns) -> Meaning:
    if not columns.label:
        return Meaning(_stripped, (), "no labels")
    labelled = [row for row in rows if row.get(columns.label) not in (None, "")]
    values = [row[columns.label] for row in labelled]
    name = repr(columns.label)
    if not values:
        raise DataError(f"the column {name} has no label in any row")
    if columns.options:
        return _choices(values, [options_of(row, columns) for row in labelled], name)
    odd = next((value for value in values if not is_number(value)), None)
    if columns.is_value and odd is not None:
        raise DataError(f"the column {name} is to hold values, but holds {odd!r}, not a number")
    if odd is None:
        return _numbers(values, name, columns.is_value)
    return _classes(values, name, _stripped, str)


def _numbers(values: Sequence[Any], name: str, is_value: bool) -> Meaning:
    fraction = next((value for value in values if float(value) % 1), None)
    if not is_value and fraction is None:
        return _classes(values, name, _whole, float)
    why = "as asked for" if is_value else f"not all are whole numbers: {fraction}"
    return Meaning(lambda value, _: float(value), (), f"{name} holds values ({why})")


def _classes(
    values: Sequence[Any],
    name: str,
    read: Callable[[Any, Sequence[str]], str],
    order: Callable[[str], Any],
) -> Meaning:
    classes = tuple(sorted({read(value, ()) for value in values}, key=order))
    shown = ", ".join(classes[:SHOWN_CLASSES]) + ", ..." * (len(classes) > SHOWN_CLASSES)
    kind = "whole numbers" if order is float else "names"
    return Meaning(read, classes, f"{name} holds {len(classes)} classes ({kind}): {shown}")


def _whole(value: Any, options: Sequence[str]) -> str:
    number = float(value)
    if number % 1:
        raise DataError(f"label {value!r} is not a whole number, as the others are")
    return str(int(number))


def _stripped(value: Any, options: Sequence[str]) -> str:
    return str(value).strip()


def _choices(values: Sequence[Any], options: Sequence[Sequence[str]], name: str) -> Meaning:
    """How labels name the right option: by its text, letter or number."""
    longest = max(map(len, options))
    texts = [str(value).strip() for value in values]
    if all(text in map(str.strip, o) for text, o in zip(texts, options, strict=True)):
        return Meaning(_by_text, (), f"{name} holds the text of the right option")
    if all(0 <= _letter(text) < longest for text in texts):
        said = f"{name} holds the letter of the right option"
        return Meaning(lambda value, _: _letter(str(value).strip()), (), said)
    if all(map(is_number, values)):
        numbers = [float(value) for value in values]
        first = 1 if min(numbers) == 1 and max(numbers) == longest else 0
        said = f"{name} holds the number of the right option, from {first}"
        return Meaning(lambda value, _: int(_whole(value, ())) - first, (), said)
    raise DataError(
        f"the column {name} is to name the right option by its text, its letter or its number from "
        f"0, but holds {texts[0]!r} where the options are {list(options[0])}"
    )


def _letter(text: str) -> int:
    """Number of a letter, from 0; -1 if it is none."""
    return ascii_uppercase.find(text.upper()) if len(text) == 1 else -1


def _by_text(value: Any, options: Sequence[str]) -> int:
    stripped = [option.strip() for option in options]
    if str(value).strip() not in stripped:
        raise DataError(f"label {value!r} is none of the options")
    return stripped.index(str(value).strip())
