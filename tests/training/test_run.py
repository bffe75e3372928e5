"""The folder of a run: whose it is, what its settings were, and what it holds at the end."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import gpt1
from gpt1.config import GPTConfig, TrainingConfig
from gpt1.data.batches import PackedRows
from gpt1.errors import ConfigError
from gpt1.model import GPT
from gpt1.tokenizer import Tokenizer
from gpt1.training.loop import Job, Trainer
from gpt1.training.objectives import LanguageModeling
from gpt1.training.report_card import About
from gpt1.training.run import (
    FREE_SETTINGS,
    RunResult,
    check_folder,
    complete_run,
    keep_model,
    write_settings,
)
from gpt1.training.tracking import LogWatcher

SETTINGS = {"data": "jokes.csv", "lr": 1e-05, "stop": ("a",), "optimizer": {"name": "adamw"}}


# Whose folder


def test_a_new_or_empty_folder_can_be_used_and_nothing_is_written_yet(tmp_path: Path) -> None:
    out = tmp_path / "new"
    assert check_folder(str(out), SETTINGS, resume=False) == out
    assert not out.exists()
    assert check_folder(tmp_path, SETTINGS, resume=False) == tmp_path


def test_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="--out is empty; name a folder"):
        check_folder("", SETTINGS, resume=False)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="file is a file; name a folder"):
        check_folder(tmp_path / "file", SETTINGS, resume=False)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not empty and has none of"):
        check_folder(tmp_path, SETTINGS, resume=False)


@pytest.mark.parametrize("name", ["model.safetensors", "state/latest"])
def test_a_folder_with_a_model_or_a_run_is_refused(tmp_path: Path, name: str) -> None:
    write_settings(tmp_path, SETTINGS)
    (tmp_path / "state").mkdir()
    (tmp_path / name).write_text("", encoding="utf-8")
    problem = f"{tmp_path} holds a run or a model already; continue the run with --resume, or name"
    with pytest.raises(ConfigError, match=re.escape(problem)):
        check_folder(tmp_path, SETTINGS, resume=False)
    assert check_folder(tmp_path, SETTINGS, resume=True) == tmp_path


def test_a_run_that_died_before_it_kept_anything_can_be_started_again(tmp_path: Path) -> None:
    write_settings(tmp_path, SETTINGS)
    (tmp_path / "metrics.jsonl").write_text("", encoding="utf-8")
    assert check_folder(tmp_path, {**SETTINGS, "lr": 1.0}, resume=False) == tmp_path


# Settings


def test_settings_and_versions_are_written_for_people_and_programs(tmp_path: Path) -> None:
    write_settings(tmp_path / "deep" / "run", SETTINGS)
    text = (tmp_path / "deep" / "run" / "run.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# gpt1 {gpt1.__version__}, torch ")
    assert yaml.safe_load(text) == {**SETTINGS, "stop": ["a"]}


def test_a_run_is_resumed_with_the_settings_it_was_started_with(tmp_path: Path) -> None:
    settings = {**SETTINGS, **dict.fromkeys(FREE_SETTINGS, 1)}
    write_settings(tmp_path, settings)
    assert check_folder(tmp_path, settings, resume=True) == tmp_path
    free = {**settings, **dict.fromkeys(FREE_SETTINGS, 2)}
    assert check_folder(tmp_path, free, resume=True) == tmp_path


def test_changed_settings_are_refused_each_by_its_name(tmp_path: Path) -> None:
    write_settings(tmp_path, SETTINGS)
    changed = {**SETTINGS, "lr": 0.1, "optimizer": {"name": "muon"}, "seed": 1}
    with pytest.raises(ConfigError) as caught:
        check_folder(tmp_path, changed, resume=True)
    assert str(caught.value) == (
        f"the run in {tmp_path} was started with other settings: lr was 1e-05 and is 0.1; "
        "optimizer was {'name': 'adamw'} and is {'name': 'muon'}; seed was None and is 1. "
        "Resume it with the old ones, or start a new run in another folder"
    )


def test_there_is_nothing_to_resume_without_a_run(tmp_path: Path) -> None:
    problem = f"nothing to resume: {tmp_path} holds no run.yaml; drop --resume"
    with pytest.raises(ConfigError, match=re.escape(problem)):
        check_folder(tmp_path, SETTINGS, resume=True)


# The end of a run


class Interrupting(LogWatcher):
    """Asks the run to stop at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def update(self, step: int, loss: float, rate: float, mfu: float | None = None) -> None:
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


Finish = Callable[..., RunResult]


@pytest.fixture
def finish(
    tmp_path: Path, new_model: Callable[..., GPT], counting: Callable[..., PackedRows]
) -> Finish:
    """Makes and completes a run of three updates in ``tmp_path``."""
    tokenizer = Tokenizer.train(["counting upwards"], vocab_size=40)

    def make(*, valid: bool = True, interrupt_at: int = 0) -> RunResult:
        model = new_model()
        job = Job(
            train=counting(20),
            valid=counting(9, seed=1) if valid else None,
            objective=LanguageModeling(),
            out=tmp_path,
            keep=keep_model(tmp_path, model, tokenizer),
        )
        write_settings(tmp_path, {})
        config = TrainingConfig(max_steps=3, batch_size=2)
        trainer = Trainer(model, config, job, watch=Interrupting(interrupt_at))
        about = About(origin="Trained on numbers", command="pretrain", prompts=["counting"])
        return complete_run(trainer, tokenizer, about)

    return make


def test_a_complete_run_has_model_card_and_curve(finish: Finish, tmp_path: Path) -> None:
    result = finish()
    assert result.complete
    assert (result.out, result.step, result.curve) == (tmp_path, 3, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes()[:4] == b"\x89PNG"
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {tmp_path.name}\n\nTrained on numbers with gpt1.")
    best = f"| validation loss | {result.best_loss:.4f} nats per token, at step {result.best_step}"
    model = GPTConfig(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    for row in (
        f"| parameters | {GPT(model).num_parameters():,} |",
        "| layers x width x heads | 2 x 16 x 2 |",
        "| updates | 3 of 2 sequences |",
        f"| tokens trained on | {result.tokens:,} |",
        "| optimizer | adamw, peak rate 6.25e-05, linear |",
        best,
    ):
        assert row in card
    assert gpt1.load(tmp_path).model.config == model


def test_a_run_without_validation_keeps_its_last_model_and_claims_no_loss(
    finish: Finish, tmp_path: Path
) -> None:
    result = finish(valid=False)
    assert (result.first_loss, result.best_loss, result.best_step) == (None, None, 0)
    assert "validation loss" not in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert gpt1.load(tmp_path).model.config.n_layer == 2


def test_an_interrupted_run_is_not_complete_and_has_no_card(finish: Finish, tmp_path: Path) -> None:
    result = finish(interrupt_at=1)
    assert not result.complete
    assert result.step == 1
    assert not (tmp_path / "README.md").exists()
    assert not (tmp_path / "report.html").exists()


def test_without_matplotlib_a_run_has_no_curve_and_says_so(
    finish: Finish, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert finish().curve is None
    assert "drawing the loss curve needs matplotlib" in caplog.text


def test_a_result_can_be_written_as_json(finish: Finish, tmp_path: Path) -> None:
    result = finish()
    plain: dict[str, Any] = json.loads(json.dumps(result.as_dict()))
    assert plain["out"] == str(tmp_path)
    assert plain["curve"] == str(tmp_path / "loss.png")
    assert plain["best_loss"] == result.best_loss
    assert plain["complete"] is True
