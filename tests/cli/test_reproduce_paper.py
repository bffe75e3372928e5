"""``gpt1 reproduce table2`` and its sisters, as a user runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpt1.cli.main import main
from reproduce.tiny_tasks import write_tasks


@pytest.fixture
def words(tiny_model: Path, tmp_path: Path) -> list[str]:
    """Flags of a reproduction of seconds."""
    data = write_tasks(tmp_path / "tasks")
    flags = {"data": data, "model": tiny_model, "out": tmp_path / "out", "seeds": 1, "epochs": 1}
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


def test_a_table_is_shown_and_its_report_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--tasks", "[rte]", "--beside", "[majority]"]
    assert main(["reproduce", "table2", *words, *more]) == 0
    captured = capsys.readouterr()
    assert "natural language inference" in captured.out
    assert "most frequent answer" in captured.out
    assert "2/2  rte-majority" in captured.err
    assert "table2.html" in captured.err.replace("\n", "")


def test_the_report_can_be_printed_as_json(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--tasks", "[cola]", "--beside", "[]", "--json"]
    assert main(["reproduce", "table4", *words, *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sections"][0]["rows"][0]["label"] == "CoLA"


def test_a_mistake_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "table3", *words, "--tasks", "[cola]"]) == 2
    assert "none of the tasks cola is of this table or figure" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(words: list[str]) -> None:
    command = [sys.executable, "-m", "gpt1", "reproduce", "table4", *words, "--jobs", "2"]
    command[command.index("--seeds") + 1] = "3"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith("2/"))
    process.send_signal(signal.SIGINT)
    assert "Run the same command again" in process.stderr.read()
    assert process.wait() == 130
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    first = again.stderr.splitlines()[0]
    assert int(first.split(", ")[1].split()[0]) >= 2
    assert "Traceback" not in again.stderr
