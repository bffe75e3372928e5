"""The report in Markdown and JSON, and its plot."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gpt1.errors import MissingExtraError
from gpt1.reproduce.findings import Check, Section
from gpt1.reproduce.report import PLOT, Report, held_out_figure

CURVES = {"tutorial": [(0, 4.6), (2, 4.5)], "gpt1": [(0, 4.6), (1, 4.2), (2, 4.0)]}


@pytest.fixture
def report() -> Report:
    """One comparison that passed, one that did not, and a text that Markdown would misread."""
    checks = [Check("ids", [1, 2], [1, 2]), Check("loss", 4.5, 4.2607, 1e-4)]
    table = Section("Inference", ("prompt", "text"), (("<|end|>", "a *b*\nc"),), ("A remark.",))
    return Report(
        {"model": "m", "jokes_held_out": 40},
        sections=[Section.of_checks("Scores", checks), table],
        curves=CURVES,
    )


def test_the_verdict_counts_and_names(report: Report) -> None:
    assert report.verdict == "1 of 2 comparisons passed; FAILED: Scores: loss."
    report.complete = False
    assert report.verdict.endswith("Interrupted: the steps after these are missing.")


def test_markdown_has_all_steps_and_harmless_cells(report: Report) -> None:
    text = report.markdown()
    assert "| jokes held out | 40 |" in text
    assert "## 1. Scores" in text
    assert "| loss | 4.5 | 4.2607 (± 0.0001) | FAIL |" in text
    assert "| &lt;&#124;end&#124;> | a &#42;b&#42; c |\n\nA remark." in text


def test_a_folder_gets_markdown_json_and_a_plot(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    assert f"]({PLOT})" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / PLOT).read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert found["failed"] == ["Scores: loss"]
    assert found["held_out_loss"]["gpt1"] == [[0, 4.6], [1, 4.2], [2, 4.0]]
    assert found["steps"][1]["rows"] == [{"prompt": "<|end|>", "text": "a *b*\nc"}]


def test_the_plot_has_a_line_for_each_recipe() -> None:
    [axes] = held_out_figure(CURVES).axes
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {
        "tutorial": [4.6, 4.5],
        "gpt1": [4.6, 4.2, 4.0],
    }


def test_without_matplotlib_the_report_says_so(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    report.write(tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert 'No plot: a plot needs matplotlib: pip install "gpt1[plot]"' in text
    assert not (tmp_path / PLOT).exists()
    with pytest.raises(MissingExtraError, match=r'needs matplotlib: pip install "gpt1\[plot\]"'):
        held_out_figure(CURVES)


def test_a_walk_that_ended_before_the_training_has_no_plot(report: Report, tmp_path: Path) -> None:
    report.curves = {}
    report.write(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.json", "report.md"]
