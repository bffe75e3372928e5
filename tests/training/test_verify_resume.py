"""Runs that are killed by SIGKILL end as runs that are not, and differences are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.conftest import SENTENCES

from gpt1.config import (
    GPTConfig,
    OptimizerConfig,
    PrepareConfig,
    TextConfig,
    TrainingConfig,
)
from gpt1.errors import ConfigError, TrainingError
from gpt1.training import verify_resume as verify
from gpt1.training.finetune import finetune_lm
from gpt1.training.pretrain import pretrain
from gpt1.training.verify_resume import verify_resume

MUON = OptimizerConfig(name="muon")


@pytest.fixture
def finetuned(base_model: Path, sentences: Path, tmp_path: Path) -> Path:
    """A run on texts, with dropout."""
    texts = TextConfig(data=str(sentences), valid_fraction=0.2)
    training = TrainingConfig(lr=0.01, max_steps=2, batch_size=4)
    return finetune_lm(base_model, texts, tmp_path / "a run", training).out


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A run of windows of one long text, with dropout and Muon."""
    text = tmp_path / "book.txt"
    text.write_text("\n".join(SENTENCES * 20), encoding="utf-8")
    shape = GPTConfig(n_positions=32, n_embd=64, n_layer=3, n_head=2)
    training = TrainingConfig(lr=0.005, max_steps=2, batch_size=8, optimizer=MUON)
    preparation = PrepareConfig(vocab_size=120, valid_fraction=0.1)
    return pretrain(text, tmp_path / "run", training, shape, preparation).out


def test_a_run_that_is_killed_twice_ends_as_if_it_was_not(finetuned: Path) -> None:
    proof = verify_resume(finetuned, steps=7, kills=2)
    assert proof.equal, proof.differences
    assert len(proof.killed_at) == 2
    assert {"model.safetensors", "metrics.jsonl"} <= set(proof.compared)
    assert "state/step-00000007/state.safetensors" in proof.compared


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["finetuned", "pretrained"])
def test_a_run_that_is_killed_20_times_ends_as_if_it_was_not(
    request: pytest.FixtureRequest, kind: str
) -> None:
    proof = verify_resume(request.getfixturevalue(kind), steps=30, kills=20, seed=1)
    assert proof.equal, proof.differences
    assert len(proof.killed_at) == 20


@pytest.mark.parametrize(
    ("name", "change", "difference"),
    [
        ("model.safetensors", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "model.safetensors differs"),
        ("metrics.jsonl", lambda b: b.replace(b'"loss": 5', b'"loss": 6'), "metrics.jsonl differs"),
        ("samples.jsonl", lambda b: b"{}\n", "samples.jsonl is there only with kills"),
        ("metrics.jsonl", lambda b: b.replace(b'"elapsed_s": 1', b'"elapsed_s": 2'), None),
    ],
)
def test_what_differs_is_named_but_for_what_a_clock_says(
    tmp_path: Path, name: str, change: object, difference: str | None
) -> None:
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(b"weights")
        line = '{"step": 1, "loss": 5.5, "elapsed_s": 1.5}\n'
        (tmp_path / folder / "metrics.jsonl").write_text(line)
    path = tmp_path / "cut" / name
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))  # type: ignore[operator]
    found = list(verify._differences(tmp_path / "whole", tmp_path / "cut"))
    assert found == ([difference] if difference else [])


def test_a_folder_without_a_run_and_numbers_out_of_range_are_refused(
    tmp_path: Path, finetuned: Path
) -> None:
    with pytest.raises(ConfigError, match=r"holds no run\.yaml; name the folder of a run"):
        verify_resume(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="steps is 1 and kills 0, but at least 2 and 1"):
        verify_resume(finetuned, steps=1, kills=0)


def test_a_run_that_fails_by_itself_is_told_from_one_that_was_killed(
    finetuned: Path, sentences: Path
) -> None:
    sentences.unlink()
    with pytest.raises(TrainingError, match=r"the run failed by itself: .*sentences\.csv"):
        verify_resume(finetuned)
