"""Runs as their folders tell: complete, killed in the middle, damaged; and side by side."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import gpt1
from gpt1.config import GPTConfig, TextConfig, TrainingConfig
from gpt1.errors import ConfigError
from gpt1.training.finetune import finetune_lm
from gpt1.training.pretrain import pretrain
from gpt1.training.run import RunResult
from gpt1.training.runs import compare_runs, list_runs, read_run
from gpt1.training.tracking import LogWatcher

TRAINING = TrainingConfig(
    lr=3e-3, max_steps=6, batch_size=8, log_every_steps=1, eval_every_steps=2, track=()
)


class StopAtOnce(LogWatcher):
    """Interrupts a run as Ctrl-C would, in its third update."""

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)


def tune(model: Path, data: Path, out: Path, *, stop: bool = False, lr: float = 3e-3) -> RunResult:
    texts = TextConfig(data=str(data), text_column="text")
    watch = StopAtOnce() if stop else None
    return finetune_lm(model, texts, out, replace(TRAINING, lr=lr), watch=watch)


def test_a_complete_run_says_what_its_result_said(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    result = tune(base_model, sentences, tmp_path / "run")
    run = read_run(tmp_path / "run")
    assert (run.kind, run.complete, run.problems) == ("finetune lm", True, ())
    assert (run.steps, run.tokens, run.best_step) == (6, result.tokens, result.best_step)
    assert run.best == result.best_loss
    assert run.elapsed_s == pytest.approx(result.elapsed_s, abs=1e-3)
    assert run.parameters == gpt1.load(tmp_path / "run").model.num_parameters()
    assert run.settings["optimizer.name"] == "adamw"
    json.dumps(run.as_dict())


def test_a_stopped_run_says_how_far_it_came(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    tune(base_model, sentences, tmp_path / "run", stop=True)
    run = read_run(tmp_path / "run")
    assert (run.steps, run.complete, run.best_step) == (3, False, 2)


def test_runs_are_found_at_any_depth_but_not_in_what_a_run_keeps(tmp_path: Path) -> None:
    for name in ("b", "a/deep", "a/deep/state/x", ".trash/c", "c/snapshots/step-1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.yaml").write_text("lr: 1.0\nmodel: mini\n")
    assert [run.folder for run in list_runs(tmp_path)] == [tmp_path / "a" / "deep", tmp_path / "b"]
    assert [run.folder for run in list_runs(tmp_path / "b")] == [tmp_path / "b"]


def test_a_run_that_wrote_nothing_yet_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("model: mini\nlr: 0.5\n")
    run = read_run(tmp_path)
    assert (run.steps, run.loss, run.best, run.parameters, run.lr) == (0, None, None, None, 0.5)
    assert run.problems == ()


def test_damage_is_told_and_what_is_whole_is_used(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lr: [1.0\n")
    lines = [
        '{"step": 1, "loss": 3.0, "lr": 0.1, "tokens": 8, "elapsed_s": 2}',
        "[]",
        '{"step": 2,',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    run = read_run(tmp_path)
    assert (run.steps, run.loss, run.tokens_per_s) == (1, 3.0, 4.0)
    told = "; ".join(run.problems)
    for part in ("run.yaml cannot be read", "1 lines without a step", "model.safetensors cannot"):
        assert part in told
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe")
    assert "metrics.jsonl cannot be read" in "; ".join(read_run(tmp_path).problems)
    (tmp_path / "run.yaml").write_text("- 1\n")
    assert "run.yaml holds no settings" in read_run(tmp_path).problems


def test_the_best_metric_of_a_task_is_the_highest_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lm_coef: 0.5\nmodel: mini\n")
    rows = [
        {"step": 1, "lr": 0.1, "loss": 1.0, "examples": 8, "elapsed_s": 1.0},
        {"step": 1, "accuracy": 0.5, "valid_loss": 0.1},
        {"step": 2, "accuracy": 0.75, "valid_loss": 0.2},
        {"step": 3, "accuracy": 0.7, "valid_loss": 0.05},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = read_run(tmp_path)
    assert (run.kind, run.best_name, run.best, run.best_step) == (
        "finetune task", "accuracy", 0.75, 2,
    )  # fmt: skip
    assert run.tokens_per_s is None


def test_two_runs_are_compared_by_what_differs(
    base_model: Path, sentences: Path, tmp_path: Path
) -> None:
    tune(base_model, sentences, tmp_path / "slow", lr=1e-3)
    tune(base_model, sentences, tmp_path / "fast", lr=1e-2)
    shape = GPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=8)
    pretrain(sentences, tmp_path / "new", replace(TRAINING, max_steps=2), shape)
    both = compare_runs([tmp_path / "slow", tmp_path / "fast"])
    assert both.differing == {"lr": [1e-3, 1e-2]}
    assert [len(curve) for curve in both.curves] == [6, 6]
    assert both.curves[0][-1][1] == both.runs[0].loss
    three = compare_runs([tmp_path / "slow", tmp_path / "fast", tmp_path / "new"])
    assert three.differing["max_steps"] == [6, 6, 2]
    assert three.differing["model.n_layer"] == [None, None, 1]
    image = three.draw(tmp_path / "curves.png")
    assert image.read_bytes().startswith(b"\x89PNG")
    json.dumps(three.as_dict())


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no run\.yaml; name the folder of a run"):
        read_run(tmp_path)
    with pytest.raises(ConfigError, match="1 run is named, but two or more"):
        compare_runs([tmp_path])
    with pytest.raises(ConfigError, match="there is no folder"):
        list_runs(tmp_path / "none")
