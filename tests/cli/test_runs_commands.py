"""``gpt1 runs list`` and ``runs compare``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpt1.cli.main import main
from gpt1.cli.run_table import count, duration
from gpt1.training.runs import compare_runs, list_runs


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A complete run, one that was killed, and one that is damaged."""
    for name, lr in (("done", 0.001), ("killed", 0.002), ("torn", 0.003)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "run.yaml").write_text(f"model: mini\nlr: {lr}\nseed: 1\n")
        rows = [
            {"step": 20, "lr": lr, "loss": 2.5, "tokens": 1_250_000, "elapsed_s": 125.0},
            {"step": 20, "valid_loss": 2.25},
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "done" / "README.md").write_text("# done")
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"torn")
    return tmp_path


def test_the_list_has_a_line_for_each_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", str(runs)]) == 0
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    assert header.split() == [
        "run", "kind", "steps", "state", "best", "tokens", "time", "parameters", "lr",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == [
        str(runs / n) for n in ("done", "killed", "torn")
    ]
    for part in ("finetune lm", "20", "complete", "loss 2.2500 at 20", "1.2M", "2.1 min", "0.001"):
        assert part in lines[0]
    assert "not complete" in lines[1]
    assert "damaged" in lines[2]
    assert "model.safetensors cannot be read" in err


def test_an_empty_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", str(tmp_path)]) == 0
    assert "There is no run in" in capsys.readouterr().err


def test_json_is_what_python_returns(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", str(runs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        json.dumps([run.as_dict() for run in list_runs(runs)])
    )
    pair = [str(runs / "done"), str(runs / "killed")]
    assert main(["runs", "compare", *pair, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        json.dumps(compare_runs(pair).as_dict())
    )


def test_a_comparison_shows_figures_and_what_differs(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pair, image = [str(runs / "done"), str(runs / "killed")], tmp_path / "curves.png"
    assert main(["runs", "compare", *pair, "--out", str(image)]) == 0
    lines = {
        line.split("  ")[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines()
    }
    assert lines["complete"] == ["yes", "no"]
    assert lines["lr"] == ["0.001", "0.002"]
    assert lines["tokens/s"] == ["10,000", "10,000"]
    assert "seed" not in lines
    assert image.read_bytes().startswith(b"\x89PNG")


def test_equal_settings_are_said(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "compare", str(runs / "done"), str(runs / "done")]) == 0
    assert "All settings are the same." in capsys.readouterr().err


def test_a_mistake_is_a_message(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "compare", str(runs), str(runs)]) == 2
    assert "holds no run.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, ""), (12.4, "12 s"), (90, "1.5 min"), (7200, "2.0 h")]
)
def test_durations_have_a_unit_that_suits_them(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"), [(None, ""), (1234, "1,234"), (116_534_784, "116.5M")]
)
def test_counts_are_short(number: int | None, shown: str) -> None:
    assert count(number) == shown
