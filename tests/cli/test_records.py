"""Records written for other programs, read back by the standard library."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from gpt1.cli.records import write_records

RECORDS = [{"text": 'a, "b"\nc', "n": 1, "list": [1, 2.5]}, {"text": "é", "more": {"k": 0.5}}]


def test_jsonl_holds_an_object_a_line(tmp_path: Path) -> None:
    write_records(tmp_path / "out.jsonl", RECORDS)
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == RECORDS


def test_csv_has_a_column_for_each_value_of_an_object_and_lists_as_json(tmp_path: Path) -> None:
    write_records(tmp_path / "out.csv", iter(RECORDS))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {"text": 'a, "b"\nc', "n": "1", "list": "[1, 2.5]", "more.k": ""}
    assert second["more.k"] == "0.5"
