"""``--dry-run`` of the training commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gpt1.cli.main import main

FACTS = {
    "findings", "steps", "warmup_steps", "batch_size", "sequences", "tokens", "epochs",
    "parameters", "memory_bytes", "disk_bytes", "free_bytes",
}  # fmt: skip


@pytest.fixture
def labelled_csv(tmp_path: Path) -> Path:
    """Twenty sentences and what they say."""
    path = tmp_path / "labelled.csv"
    rows = [f"the old dog saw cat {n},{n % 2}" for n in range(20)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["finetune lm", "finetune task", "pretrain"])
def test_a_dry_run_of_every_training_command_trains_nothing(
    command: str,
    tiny_model: Path,
    texts_csv: Path,
    labelled_csv: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = {
        "finetune lm": ["--model", str(tiny_model), "--data", str(texts_csv)],
        "finetune task": ["--model", str(tiny_model), "--data", str(labelled_csv)],
        "pretrain": [
            *("--data", str(texts_csv), "--prepare.vocab-size", "60", "--model.n-layer", "1"),
            *("--model.n-embd", "16", "--model.n-head", "2", "--model.n-positions", "8"),
        ],
    }[command]
    out = tmp_path / "out"
    given = [*command.split(), *words, "--out", str(out), "--max-steps", "3", "--batch-size", "4"]
    assert main([*given, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan.keys() == FACTS
    assert (plan["steps"], plan["batch_size"]) == (3, 4)
    assert not out.exists()


def test_findings_are_lines_for_people_and_objects_for_programs(
    tiny_model: Path, texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["finetune", "lm", "--model", str(tiny_model), "--data", str(texts_csv)]
    words += ["--out", str(tmp_path / "out"), "--end-token", "null", "--lr", "2e-3"]
    words += ["--batch-size", "2", "--dry-run"]
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["steps", shown[0].split()[1]]
    assert shown[-1].startswith("warning (stop-token): no special token ends the texts")
    assert main([*words, "--json"]) == 0
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert finding.keys() == {"rule", "severity", "message", "remedy"}
    assert (finding["rule"], finding["severity"]) == ("stop-token", "warning")


def test_a_run_that_cannot_work_ends_with_2(
    tiny_model: Path,
    texts_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    words = ["finetune", "lm", "--model", str(tiny_model), "--data", str(texts_csv)]
    words += ["--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run"]) == 2
    assert "error (disk): " in capsys.readouterr().out
    assert main(words) == 2
    assert "bytes but 1,000 are free; free some space" in capsys.readouterr().err


def test_a_run_tells_its_findings_before_the_first_update(
    tiny_model: Path, texts_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["finetune", "lm", "--model", str(tiny_model), "--data", str(texts_csv)]
    words += ["--out", str(tmp_path / "out"), "--max-steps", "1"]
    assert main([*words, "--schedule.warmup-steps", "5000"]) == 0
    told = capsys.readouterr().err
    assert told.index("warning (warm-up): ") < told.index("step 0: validation loss")
