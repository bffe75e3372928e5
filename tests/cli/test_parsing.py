"""Flags, config files, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt1.cli.main import main

FINETUNE = ["finetune", "lm", "--data", "x.csv", "--out", "o"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lrr", "3"], "unrecognized arguments: --lrr 3; did you mean --lr?"),
        (["--bach-size", "3"], "did you mean --batch-size?"),
        (["--lr", "fast"], "--lr: Expected float. Got value: fast"),
        (
            ["--optimizer.name", "sgd"],
            "--optimizer.name: Expected one of 'adamw', 'openai', 'muon'",
        ),
        (["--batch-size", "0"], "batch_size is 0 but must be at least 1"),
        (["--config", "no-such-file.yaml"], "--config: "),
    ],
)
def test_a_wrong_flag_is_named(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FINETUNE, *words]) == 2
    assert message in capsys.readouterr().err


def test_missing_flags_are_named_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare"]) == 2
    assert "required: inputs, --out" in capsys.readouterr().err


def test_an_unknown_key_of_a_config_file_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("batchsize: 3\n", encoding="utf-8")
    assert main([*FINETUNE, "--config", str(path)]) == 2
    assert "'batchsize' is not accepted; did you mean batch_size?" in capsys.readouterr().err


def test_a_flag_overrides_the_config_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("lr: 0.5\noptimizer:\n  beta2: 0.25\n", encoding="utf-8")
    words = [*FINETUNE, "--config", str(path), "--lr", "0.125", "--print-config"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "lr: 0.125" in printed
    assert "beta2: 0.25" in printed


def test_what_print_config_prints_is_a_config_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*FINETUNE, "--seed", "7", "--print-config"])
    printed = capsys.readouterr().out
    path = tmp_path / "again.yaml"
    path.write_text(printed, encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["finetune", "lm", "--config", str(path), "--print-config"])
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--resume needs --out"),
        (["--resume", "--out", "nowhere"], "nowhere holds no run.yaml"),
        (["--resume", "--out=nowhere"], "nowhere holds no run.yaml"),
    ],
)
def test_there_is_nothing_to_resume(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", "lm", *words]) == 2
    assert message in capsys.readouterr().err
