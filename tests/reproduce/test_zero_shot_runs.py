"""Zero-shot scores of snapshots are those of the model that was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

import gpt1
from gpt1.errors import DataError
from gpt1.evaluation.zero_shot import zero_shot
from gpt1.evaluation.zero_shot_data import task_rows
from gpt1.reproduce.runs import Quiet
from gpt1.reproduce.zero_shot_runs import ZeroShotReading, find_snapshots


def test_snapshots_come_in_the_order_of_training(small_models: Path) -> None:
    found = find_snapshots(small_models / "gpt-run")
    assert [snapshot.step for snapshot in found] == [0, 10, 100]
    assert find_snapshots(small_models / "gpt-run" / "snapshots") == found
    with pytest.raises(DataError, match="has no folder snapshots/step-N; pre-train with"):
        find_snapshots(small_models / "gpt")


def test_a_reading_is_the_zero_shot_score_of_the_snapshot(
    small_models: Path, task_data: Path
) -> None:
    snapshot = find_snapshots(small_models / "gpt-run")[1]
    found = ZeroShotReading(snapshot, "race", str(task_data), 5).run(Quiet())
    rows = task_rows(task_data / "race" / "dev.jsonl", "race", 5)
    expected = zero_shot(gpt1.load(snapshot.folder), "race", rows)
    assert found.figures == {"accuracy": expected.score, "chance": 0.25}
    assert (found.counts["scored"], found.details["split"]) == (5, "dev")


def test_the_threshold_is_fitted_on_train(small_models: Path, task_data: Path) -> None:
    snapshot = find_snapshots(small_models / "gpt-run")[2]
    found = ZeroShotReading(snapshot, "cola", str(task_data), None).run(Quiet())
    train, dev = (
        task_rows(task_data / "cola" / f"{name}.jsonl", "cola") for name in ("train", "dev")
    )
    expected = zero_shot(gpt1.load(snapshot.folder), "cola", dev, train_rows=train)
    assert found.figures["matthews"] == expected.score
