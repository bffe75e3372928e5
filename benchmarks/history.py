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
    """The newest report of each benchmark.

    Args:
        file: Need not exist.
        names: Of benchmarks, in the order wanted; those that never ran are left out.
    """
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = {report["benchmark"]: report for report in map(json.loads, lines)}
    return [found[name] for name in names if name in found]
