"""What a walk finds: checks against expected values, and tables of figures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Value: TypeAlias = "int | float | str | bool | list[int] | list[float] | None"


@dataclass(frozen=True)
class Check:
    """One value of ours, beside the expected one where there is one.

    Attributes:
        what: Its name.
        ours: As computed.
        expected: As published, or None.
        tolerance: Largest difference of a number that passes.
    """

    what: str
    ours: Value
    expected: Value = None
    tolerance: float = 0.0

    @property
    def passed(self) -> bool | None:
        """Whether ours is the expected value; None where nothing is expected."""
        if self.expected is None:
            return None
        ours, expected = _as_list(self.ours), _as_list(self.expected)
        return len(ours) == len(expected) and all(
            _is_near(a, b, self.tolerance) for a, b in zip(ours, expected, strict=True)
        )

    @property
    def verdict(self) -> str:
        """For people: pass, FAIL or nothing."""
        return {None: "", True: "pass", False: "FAIL"}[self.passed]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "what": self.what,
            "ours": self.ours,
            "expected": self.expected,
            "tolerance": self.tolerance,
            "passed": self.passed,
        }


@dataclass(frozen=True)
class Section:
    """One step of the walk.

    Attributes:
        title: Of the step.
        columns: Names of the columns.
        rows: Values, one for each column.
        remarks: Sentences below the table.
        checks: Where the rows come from, if they are checks.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    remarks: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    @classmethod
    def of_checks(cls, title: str, checks: Sequence[Check], *remarks: str) -> Section:
        """A section of checks; the columns of expected values only where there are some."""
        columns, width = ("", "ours", "expected", "result"), 2
        if any(check.expected is not None for check in checks):
            width = 4
        rows = tuple((c.what, c.ours, _with_tolerance(c), c.verdict)[:width] for c in checks)
        return cls(title, columns[:width], rows, remarks, tuple(checks))

    @property
    def failed(self) -> list[str]:
        """Names of the checks that did not pass."""
        return [check.what for check in self.checks if check.passed is False]

    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[shown(value) for value in row] for row in self.rows]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        names = [name or "what" for name in self.columns]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        return {
            "title": self.title,
            "rows": [check.as_dict() for check in self.checks] or rows,
            "remarks": list(self.remarks),
        }


def shown(value: Value) -> str:
    """A value for people: ids in a row, numbers to four places, tiny ones to three digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in value)
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 1e-3 else f"{value:,.4f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else value


def _with_tolerance(check: Check) -> str | None:
    if check.expected is None:
        return None
    return shown(check.expected) + (f" (± {check.tolerance:g})" if check.tolerance else "")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_near(ours: Any, expected: Any, tolerance: float) -> bool:
    if not tolerance:
        return bool(ours == expected)
    return math.isclose(ours, expected, rel_tol=0.0, abs_tol=tolerance)
