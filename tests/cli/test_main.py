"""The command as a whole: which module runs, and what the exit code says."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gpt1
from gpt1.cli.main import COMMANDS, main


def test_no_command_prints_all_commands_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_help_prints_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_help_of_a_family_prints_only_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenizer", "--help"]) == 0
    out = capsys.readouterr().out
    assert "tokenizer train" in out
    assert "pretrain" not in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gpt1 {gpt1.__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["genrate", "x"], "gpt1 generate"), (["finetune", "ml"], "gpt1 finetune lm")],
)
def test_an_unknown_command_names_the_nearest(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert f"did you mean: {hint}" in capsys.readouterr().err


def test_a_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "Hello", "--model", "no-such-model"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gpt1: ")
    assert "Traceback" not in err


def test_what_the_system_refuses_is_a_mistake_not_a_bug(
    texts_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(texts_csv), "--out", str(texts_csv / "inside a file"), "--vocab-size", "60"]
    assert main(["tokenizer", "train", *words]) == 2
    assert f"gpt1: Not a directory: {texts_csv}" in capsys.readouterr().err


def test_a_bug_is_a_traceback_and_exit_code_1() -> None:
    code = (
        "import gpt1.cli.tokenizer_encode as m\n"
        "m.run = lambda arguments: 1 / 0\n"
        "from gpt1.cli.main import main\n"
        "main(['tokenizer', 'encode', 'x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_a_closed_pipe_is_no_error(tiny_model: object) -> None:
    words = [sys.executable, "-m", "gpt1", "tokenizer", "encode", "-", "--model", str(tiny_model)]
    command = f"{shlex.join(words)} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        input="the dog\n" * 50_000,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: gpt1 {name}" in out
    assert f"  gpt1 {name}" in out.partition("examples:")[2]
