"""The metrics file survives crashes and resuming; the log says how a run goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt1.training.tracking import LogWatcher, MetricsLog, read_metrics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Metrics of four steps."""
    log = MetricsLog(tmp_path / "metrics.jsonl", 0)
    for step in (1, 2, 2, 3, 4):
        log.write(step=step, loss=step / 4)
    return tmp_path / "metrics.jsonl"


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read_metrics(path)]


def test_lines_are_read_as_they_were_written(path: Path) -> None:
    assert read_metrics(path)[0] == {"step": 1, "loss": 0.25}
    assert steps(path) == [1, 2, 2, 3, 4]


def test_resuming_drops_the_lines_after_the_step_and_goes_on_behind(path: Path) -> None:
    log = MetricsLog(path, 2)
    assert steps(path) == [1, 2, 2]
    log.write(step=3)
    assert steps(path) == [1, 2, 2, 3]


def test_a_new_run_begins_an_empty_file(path: Path) -> None:
    MetricsLog(path, 0)
    assert path.read_text(encoding="utf-8") == ""


def test_a_line_that_was_cut_off_is_left_out_and_repaired_on_resuming(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8")[:-5], encoding="utf-8")
    assert steps(path) == [1, 2, 2, 3]
    MetricsLog(path, 4).write(step=5)
    assert steps(path) == [1, 2, 2, 3, 5]


def test_a_run_that_has_no_metrics_yet_has_no_lines(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_the_log_watcher_passes_everything_on_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="gpt1")
    watcher = LogWatcher()
    watcher.advance("counting", 5, 0)
    watcher.start(3, 10, "tokens")
    watcher.update(4, 1.25, 2000.4)
    watcher.note("validation loss 1.2")
    watcher.stop()
    assert caplog.messages == [
        "counting: text 5 of ?",
        "training from step 3 to 10",
        "step 4: loss 1.2500, 2000 tokens/s",
        "validation loss 1.2",
    ]
