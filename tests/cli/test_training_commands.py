"""``finetune lm``, ``pretrain`` and ``data prepare`` as a user runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.language_model import load
from gpt1.lstm import LSTM
from programs import read_until

SMALL = ["--batch-size", "2", "--seq-len", "16", "--valid-fraction", "0.2"]


def finetune(model: Path, data: Path, out: Path, *more: str) -> int:
    words = ["--data", str(data), "--model", str(model), "--out", str(out), *SMALL, *more]
    return main(["finetune", "lm", *words])


def test_finetuning_leaves_a_model_a_curve_and_a_record(
    tiny_model: Path, texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a run"
    assert finetune(tiny_model, texts_csv, out, "--max-steps", "3", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["complete"] is True
    assert result["step"] == 3
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert {"README.md", "metrics.jsonl", "run.yaml"} <= {file.name for file in out.iterdir()}
    assert load(out).tokenizer.end_of_text_id is not None


def test_an_interrupted_run_says_how_to_resume_and_resumes(
    tiny_model: Path, texts_csv: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my run"
    words = ["--data", str(texts_csv), "--model", str(tiny_model), "--out", str(out), *SMALL]
    run = subprocess.Popen(
        [sys.executable, "-m", "gpt1", "finetune", "lm", *words, "--max-steps", "1000000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    read_until(run.stderr, "validation loss")
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 130
    assert f"Continue with: gpt1 finetune lm --out '{out}' --resume" in err
    assert (out / "state" / "latest").exists()


def test_resume_needs_no_other_flag_and_ends_the_run(
    tiny_model: Path, texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert finetune(tiny_model, texts_csv, out, "--max-steps", "4", "--save-every-steps", "2") == 0
    capsys.readouterr()
    assert main(["finetune", "lm", "--out", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4


def test_a_failed_start_leaves_no_folder(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(tiny_model, tmp_path / "missing.csv", tmp_path / "run") == 2
    assert "missing.csv" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_a_folder_is_refused(
    tiny_model: Path, texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(tiny_model, texts_csv, tmp_path / "run", "--max-steps", "1") == 0
    assert finetune(tiny_model, texts_csv, tmp_path / "run", "--max-steps", "1") == 2
    assert "holds a run or a model already" in capsys.readouterr().err


def test_shards_are_prepared_and_pretrained_on(
    texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards, out = tmp_path / "shards", tmp_path / "model"
    sizes = ["--vocab-size", "50", "--valid-fraction", "0.1"]
    assert main(["data", "prepare", str(texts_csv), "--out", str(shards), *sizes, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["documents"] == 18
    assert main(["data", "verify", str(shards), "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    tokens = counts["train_tokens"] + counts["valid_tokens"]
    assert checked == {"folder": str(shards), "files": 2, "tokens": tokens}
    shape = ["--model.n-layer", "1", "--model.n-head", "2", "--model.n-embd", "16"]
    words = [*shape, "--model.n-positions", "16", "--max-steps", "2", "--batch-size", "2"]
    assert main(["pretrain", "--data", str(shards), "--out", str(out), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 2
    assert load(out).tokenizer.vocab_size == 50


def test_shards_with_a_url_are_verified_pretrained_on_and_refused_when_damaged(
    texts_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shards, out = tmp_path / "shards", tmp_path / "model"
    url = shards.as_uri()
    sizes = ["--vocab-size", "50", "--valid-fraction", "0.1"]
    assert main(["data", "prepare", str(texts_csv), "--out", str(shards), *sizes]) == 0
    assert main(["data", "verify", url]) == 0
    shape = ["--model.n-layer", "1", "--model.n-head", "2", "--model.n-embd", "16"]
    words = [*shape, "--model.n-positions", "16", "--max-steps", "2", "--batch-size", "2"]
    assert main(["pretrain", "--data", url, "--out", str(out), *words]) == 0
    (kept,) = (tmp_path / "cache").rglob("train-00000.bin")
    kept.write_bytes(bytes(kept.stat().st_size))
    capsys.readouterr()
    assert main(["data", "verify", url]) == 2
    assert f"gpt1: {kept} has SHA-256" in capsys.readouterr().err


def test_an_lstm_is_pretrained_with_snapshots_and_resumed_from_its_settings(
    texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shape = ["--model-type", "lstm", "--lstm.n-units", "12", "--lstm.n-embd", "8"]
    words = [*shape, "--lstm.n-positions", "16", "--batch-size", "2", "--prepare.vocab-size", "50"]
    steps = ["--max-steps", "3", "--snapshot-steps", "[0,2]"]
    assert main(["pretrain", "--data", str(texts_csv), "--out", str(out), *words, *steps]) == 0
    snapshot = load(out / "snapshots" / "step-00000002")
    assert isinstance(snapshot.model, LSTM)
    assert snapshot.model.config.n_units == 12
    capsys.readouterr()
    assert main(["pretrain", "--out", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 3
    assert main(["evaluate", "perplexity", "--model", str(out), "--data", str(texts_csv)]) == 0
    assert main(["generate", "the", "--model", str(out)]) == 2
    assert "generation needs a Transformer, and this model is an LSTM" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model-type", "lstm", "--model.n-layer", "3"],
            "--model.* flags shape a model of type 'gpt' but --model-type is 'lstm'; use --lstm.*",
        ),
        (
            ["--lstm.n-units", "3"],
            "--lstm.* flags shape a model of type 'lstm' but --model-type is 'gpt'; use --model.*",
        ),
    ],
)
def test_flags_of_the_other_kind_of_model_are_refused(
    words: list[str],
    message: str,
    texts_csv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["pretrain", "--data", str(texts_csv), "--out", str(tmp_path / "a"), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
