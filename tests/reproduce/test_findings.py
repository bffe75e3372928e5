"""Checks pass or fail, and figures are written for people."""

from __future__ import annotations

import math

import pytest

from gpt1.reproduce.findings import Check, Section, Value, shown


@pytest.mark.parametrize(
    ("ours", "expected", "tolerance", "passed"),
    [
        (3, None, 0.0, None),
        (3, 3, 0.0, True),
        (3, 4, 0.0, False),
        ([1, 2], [1, 2], 0.0, True),
        ([1, 2, 3], [1, 2], 0.0, False),
        ([2, 1], [1, 2], 0.0, False),
        (0.18984, 0.1898, 1e-4, True),
        (0.1900, 0.1898, 1e-4, False),
        ([-5.9486, -5.87], [-5.9486, -5.8697], 1e-3, True),
        ([-5.9486, -5.8], [-5.9486, -5.8697], 1e-3, False),
        (math.nan, 0.1898, 1e-4, False),
        (True, True, 0.0, True),
        (False, True, 0.0, False),
    ],
)
def test_a_check_passes_within_its_tolerance(
    ours: Value, expected: Value, tolerance: float, passed: bool | None
) -> None:
    assert Check("it", ours, expected, tolerance).passed is passed


def test_a_section_names_its_failures_and_shows_both_values() -> None:
    section = Section.of_checks(
        "Scores", [Check("loss", 4.5, 4.2607, 1e-4), Check("ids", [1, 2], [1, 2]), Check("n", 7)]
    )
    assert section.failed == ["loss"]
    assert section.columns == ("", "ours", "expected", "result")
    assert section.cells() == [
        ["loss", "4.5", "4.2607 (± 0.0001)", "FAIL"],
        ["ids", "1 2", "1 2", "pass"],
        ["n", "7", "", ""],
    ]


def test_without_expected_values_there_is_no_column_for_them() -> None:
    assert Section.of_checks("Scores", [Check("loss", 4.5)]).columns == ("", "ours")


def test_a_section_is_plain_data_too() -> None:
    checks = Section.of_checks("A", [Check("n", 7, 8)], "a remark").as_dict()
    [row] = checks["rows"]
    assert row == {"what": "n", "ours": 7, "expected": 8, "tolerance": 0.0, "passed": False}
    assert checks["remarks"] == ["a remark"]
    table = Section("B", ("", "tutorial", "gpt1"), (("updates", 1, None),)).as_dict()
    assert table["rows"] == [{"what": "updates", "tutorial": 1, "gpt1": None}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        ([3570, 240], "3570 240"),
        ([-5.9486, 1.0], "-5.9486 1.0000"),
        (116534784, "116,534,784"),
        (4.26071, "4.2607"),
        (10.0, "10"),
        (0.0, "0"),
        (7.8e-8, "7.8e-08"),
        (12345.678, "12,345.678"),
        ("text", "text"),
    ],
)
def test_values_are_written_for_people(value: Value, text: str) -> None:
    assert shown(value) == text
