"""``gpt1 reproduce seed`` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from gpt1.checkpoint import load_model
from gpt1.cli.main import main
from gpt1.locate import ASSETS
from gpt1.reproduce import published
from gpt1.reproduce.published import Published
from programs import read_until


@pytest.fixture
def jokes_csv(tmp_path: Path) -> Path:
    """Short sentences as jokes, with the head of a table as of the collection of short jokes."""
    lines = [f"{n},the old dog saw the {n % 7} cat {n}" for n in range(300)]
    path = tmp_path / "jokes.csv"
    path.write_text("\n".join(["ID,Joke", *lines]), encoding="utf-8")
    return path


def walk(model: Path | str, data: Path, out: Path, *more: str) -> int:
    words = ["--model", str(model), "--data", str(data), "--out", str(out), *more]
    return main(["reproduce", "seed", *words])


def test_the_walk_shows_every_step_and_where_the_report_is(
    tiny_model: Path, jokes_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert walk(tiny_model, jokes_csv, out, "--epochs", "1", "--max-steps", "2") == 0
    shown = capsys.readouterr().out
    for title in ("Tokens", "Scores", "Greedy text", "Packing, 1 epoch", "Inference"):
        assert f"─ {title} ─" in shown
    assert "1 of 1 comparisons passed." in shown
    assert str(out / "report.md") in shown.replace("\n", "")
    assert (out / "model" / "model.safetensors").exists()


def test_a_walk_on_mini_learns_and_prints_its_report_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "jokes.csv"
    lines = (ASSETS / "jokes.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    data.write_text("".join(lines[:41]), encoding="utf-8")
    words = ["--quick", "--max-steps", "2", "--batch-size", "2", "--json"]
    assert walk("mini", data, tmp_path / "out", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] is True
    assert found["failed"] == []
    (_, first), *_, (_, last) = found["held_out_loss"]["gpt1"]
    assert last < first


def test_a_second_walk_takes_another_folder(
    tiny_model: Path, jokes_csv: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert walk(tiny_model, jokes_csv, tmp_path / "out", "--epochs", "1", "--max-steps", "1") == 0
    assert (tmp_path / "out-2" / "report.json").exists()


def test_a_failed_comparison_is_named_and_is_exit_code_1(
    tiny_model: Path,
    jokes_csv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = vars(published.RELEASED) | {"config": load_model(tiny_model).config}
    monkeypatch.setattr(published, "RELEASED", Published(**values))
    assert walk(tiny_model, jokes_csv, tmp_path / "out", "--epochs", "1", "--max-steps", "1") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "FAILED: Tokens: ids of" in shown
    assert "-18.4258" in shown


def test_without_the_released_weights_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["reproduce", "seed"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("gpt1: openai-community/openai-gpt is not in the cache")
    assert "--model mini walks the same steps without expected values" in message
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_training_leaves_a_report(
    tiny_model: Path, jokes_csv: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--model", str(tiny_model), "--data", str(jokes_csv), "--out", str(out)]
    run = subprocess.Popen(
        [sys.executable, "-m", "gpt1", "reproduce", "seed", *words, "--epochs", "40"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    assert run.stderr is not None
    read_until(run.stderr, "training by the tutorial's recipe")
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate()
    assert run.returncode == 130
    assert "Interrupted" in output
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert found["complete"] is False
    assert found["steps"][-1]["title"] == "What the doctor says before it begins"
