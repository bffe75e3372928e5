"""The live line of a run and the plain lines without a terminal."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from gpt1.cli import progress
from gpt1.cli.progress import TrainingProgress


def lines_of_a_run(mfu: float | None, unit: str) -> None:
    watch = TrainingProgress()
    watch.start(0, 20, unit)
    for step in (1, 2):
        watch.update(step, 3.21987, 12345.6, mfu)
    watch.stop()


@pytest.mark.parametrize("width", [80, 140])
def test_a_terminal_shows_loss_rate_mfu_and_the_time_left_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    terminal = Console(force_terminal=True, width=width, color_system=None, stderr=True)
    monkeypatch.setattr(progress, "console", terminal)
    lines_of_a_run(0.314, "tokens")
    shown = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capsys.readouterr().err)
    last = shown.rstrip().splitlines()[-1]
    assert "2/20 steps loss 3.220 · 12,346 tokens/s · MFU 31% " in last
    assert re.search(r"ETA [-\d]:[-\d]{2}:[-\d]{2}$", last)
    assert "…" not in last


@pytest.mark.parametrize(
    ("mfu", "shown"), [(0.314, "12,346 tokens/s · MFU 31%"), (None, "12,346 tokens/s  ETA")]
)
def test_without_a_terminal_there_are_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    mfu: float | None,
    shown: str,
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(progress, "console", Console(stderr=True, width=140))
    lines_of_a_run(mfu, "tokens")
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("step 1/20  loss 3.220  ")
    assert shown in line
