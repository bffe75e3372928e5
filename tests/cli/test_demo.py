"""``gpt1 demo`` from start to end, with a short training."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.language_model import load
from gpt1.training.tracking import read_metrics


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a demo with three updates."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--out", str(folder), "--max-steps", "3"]) == 0
    return folder


def test_the_model_of_the_demo_learned_to_end_its_jokes(story: Path) -> None:
    assert load(story).tokenizer.end_of_text_id is not None


def test_the_held_out_loss_is_written_before_and_after(story: Path) -> None:
    losses = [
        row["valid_loss"] for row in read_metrics(story / "metrics.jsonl") if "valid_loss" in row
    ]
    assert losses[-1] < losses[0]


def test_the_loss_curve_is_drawn(story: Path) -> None:
    assert (story / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_demo_takes_another_folder(
    story: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(story), "--max-steps", "1"]) == 0
    assert story.with_name("out-2").is_dir()
    out = capsys.readouterr().out
    for heading in ("1. Load", "2. What it expects", "3. Generate", "4. Fine-tune", "jokes before"):
        assert heading in out
