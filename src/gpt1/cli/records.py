"""Records to a .jsonl or .csv file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt1.atomic import write_text_atomic


def write_records(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write the file in one step.

    Args:
        path: Ends in .csv for a table, in anything else for an object a line.
        records: A line each. In a table, every value of an object has a column of its own, named
            with a dot, and a list is one field of JSON.
    """
    rows = list(records)
    out = io.StringIO()
    if Path(path).suffix == ".csv":
        rows = [dict(_fields(row)) for row in rows]
        columns = dict.fromkeys(name for row in rows for name in row)
        table = csv.DictWriter(out, list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    else:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text_atomic(path, out.getvalue())


def _fields(row: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            listed = isinstance(value, (list, tuple))
            yield name, json.dumps(value, ensure_ascii=False) if listed else value
