"""All runs, one line of JSON each: date, machine, versions and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def append(report: Mapping[str, Any], file: Path) -> None:
    """Add a report, as `Report.as_dict` gives it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(report, ensure_ascii=False) + "\n")


def latest(file: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """The newest report of each benchmark, with what only older ones of that machine measured.

    Args:
        file: Need not exist.
        names: Of benchmarks, in the order wanted; those that never ran are left out.
    """
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    newest: dict[str, dict[str, Any]] = {}
    of_machine: dict[tuple[str, ...], dict[str, Any]] = {}
    for report in map(json.loads, lines):
        name, machine = report["benchmark"], report["machine"]
        key = (name, *(str(machine.get(fact)) for fact in ("cpu", "kernels", "cores")))
        newest[name] = of_machine[key] = _completed(report, of_machine.get(key))
    return [newest[name] for name in names if name in newest]


def _completed(report: dict[str, Any], older: Mapping[str, Any] | None) -> dict[str, Any]:
    """A run of a part of a benchmark leaves the other rows as they were, and all in their order."""
    if older is None:
        return report
    found = {}
    for part, name in (("rows", "measure"), ("figures", "name")):
        measured = {row[name] for row in report[part]}
        kept = [row for row in older[part] if row[name] not in measured]
        order = [row[name] for row in [*older[part], *report[part]]]
        found[part] = sorted([*kept, *report[part]], key=lambda row: order.index(row[name]))
    return {**report, **found}
