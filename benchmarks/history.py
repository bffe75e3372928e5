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


def latest(file: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The newest reports of benchmarks, with what only older ones of that machine measured.

    Args:
        file: Need not exist.
        names: Of benchmarks; those that never ran are left out.

    Returns:
        The newest of each benchmark, by its name, and the newest of each of its machines, by both:
        ``decode on 2 cores of AMD EPYC, avx2``.
    """
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found: dict[str, dict[str, Any]] = {}
    for report in map(json.loads, lines):
        name = report["benchmark"]
        if name in names:
            here = f"{name} on {_described(report['machine'])}"
            found[name] = found[here] = _completed(report, found.get(here))
    return found


def _described(machine: Mapping[str, Any]) -> str:
    kernels = f", {machine['kernels']}" if machine.get("kernels") else ""  # older runs do not tell
    return f"{machine['cores']} cores of {machine['cpu']}{kernels}"


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
