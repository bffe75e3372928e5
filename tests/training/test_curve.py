"""The loss curve is a real picture, whatever a run has written so far."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from gpt1.errors import MissingExtraError
from gpt1.training.curve import draw_loss_curve
from gpt1.training.tracking import MetricsLog

ROWS = [
    {"step": 0, "valid_loss": 3.0},
    {"step": 1, "loss": 2.9},
    {"step": 2, "loss": 2.5},
    {"step": 2, "valid_loss": 2.6},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[1:3], ROWS[:1], []])
def test_the_picture_is_a_png(tmp_path: Path, rows: list[dict[str, float]]) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", 0)
    for row in rows:
        log.write(**row)
    draw_loss_curve(log.path, tmp_path / "loss.png", "a run")
    content = (tmp_path / "loss.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1050, 600)
    assert content[-8:-4] == b"IEND"


def test_both_losses_are_drawn(tmp_path: Path) -> None:
    pictures = []
    for rows in (ROWS, ROWS[1:3], ROWS[:1]):
        log = MetricsLog(tmp_path / "metrics.jsonl", 0)
        for row in rows:
            log.write(**row)
        draw_loss_curve(log.path, tmp_path / "loss.png", "a run")
        pictures.append((tmp_path / "loss.png").read_bytes())
    assert len(set(pictures)) == 3


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r'needs matplotlib: pip install "gpt1\[plot\]"'):
        draw_loss_curve(tmp_path / "metrics.jsonl", tmp_path / "loss.png", "a run")
