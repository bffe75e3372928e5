"""``finetune task`` and ``evaluate task`` as a user runs them."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpt1.cli.main import main
from programs import read_until

SMALL = ["--batch-size", "4", "--valid-fraction", "0.25", "--lr", "0.01", "--pdrop", "0"]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "my reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["review", "stars"])
        table.writerows([[f"the {w} dog", w] for w in ["old", "big"] * 8])
    return path


def finetune(model: Path, data: Path, out: Path, *more: str) -> int:
    words = ["--data", str(data), "--model", str(model), "--out", str(out), *SMALL, *more]
    return main(["finetune", "task", *words])


def test_ones_own_csv_is_learned_and_what_it_is_taken_for_is_said(
    tiny_model: Path,
    reviews: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "a run"
    caplog.set_level("INFO")
    assert finetune(tiny_model, reviews, out, "--epochs", "40", "--json") == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["metrics"]["accuracy"] == 1.0
    assert result["train_examples"] == 12
    assert "layout text of 'review'; 'stars' holds 2 classes (names): big, old" in caplog.text
    assert "4 training examples are held out to validate on" in shown.err
    assert f"gpt1 evaluate task --model '{out}'" in shown.err
    assert {"README.md", "loss.png", "result.json", "run.yaml"} <= {f.name for f in out.iterdir()}


def test_predictions_are_written_with_probabilities_and_need_no_label(
    tiny_model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, new = tmp_path / "run", tmp_path / "new.csv"
    columns = ["--columns", "text=review,label=stars"]
    assert finetune(tiny_model, reviews, out, "--epochs", "40", *columns) == 0
    new.write_text("review\nthe old dog\nthe big dog\n", encoding="utf-8")
    capsys.readouterr()
    for name in ("p.jsonl", "p.csv"):
        words = ["--model", str(out), "--data", str(new), "--predictions", str(tmp_path / name)]
        assert main(["evaluate", "task", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"examples": 2, "labelled": 0}
    lines = (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["prediction"] for record in records] == ["old", "big"]
    assert all(sum(r["probabilities"].values()) == pytest.approx(1.0) for r in records)
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["prediction"] for row in table] == ["old", "big"]
    assert float(table[0]["probabilities.old"]) == records[0]["probabilities"]["old"]
    assert main(["evaluate", "task", "--model", str(out), "--data", str(reviews), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == 1.0


def test_a_task_of_the_paper_is_found_in_a_folder_of_tasks(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tasks" / "cola"
    folder.mkdir(parents=True)
    rows = [{"sentence": f"the {w} dog", "label": int(w == "old")} for w in ["old", "big"] * 8]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    for split in ("train", "dev"):
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    out = tmp_path / "cola"
    words = ["--data", str(tmp_path / "tasks"), "--model", str(tiny_model), "--out", str(out)]
    more = ["--max-steps", "2", "--seeds", "2", "--lr-grid", "[0.01, 0.001]", "--json"]
    assert main(["finetune", "task", "cola", *words, *more]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [(t["lr"], t["seed"]) for t in result["trials"]] == [
        (0.01, 42),
        (0.01, 43),
        (0.001, 42),
        (0.001, 43),
    ]
    assert {"matthews", "accuracy", "valid_loss"} < set(result["best"])
    evaluate = ["--model", str(out), "--data", str(tmp_path / "tasks"), "--json"]
    assert main(["evaluate", "task", *evaluate]) == 0
    assert json.loads(capsys.readouterr().out)["matthews"] == result["best"]["matthews"]


def test_an_interrupted_run_says_how_to_resume_and_resumes(
    tiny_model: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run"
    words = ["--data", str(reviews), "--model", str(tiny_model), "--out", str(out), *SMALL]
    run = subprocess.Popen(
        [sys.executable, "-m", "gpt1", "finetune", "task", *words, "--epochs", "100000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    read_until(run.stderr, "validation loss")
    run.send_signal(signal.SIGINT)
    _, err = run.communicate()
    assert run.returncode == 130
    assert f"Continue with: gpt1 finetune task --out '{out}' --resume" in err
    step = int((out / "state" / "latest").read_text().removeprefix("step-"))
    again = ["finetune", "task", "--out", str(out), "--resume", "--epochs", str(step // 3 + 2)]
    assert main(again) == 2, "another length would be another run"
    assert "was started with other settings: epochs was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["colla", "--data", "x"], "there is no task 'colla'; .* did you mean cola"),
        (["--data", "missing.csv"], "missing.csv"),
        (["cola", "--data", "."], "no train data of cola"),
        (["cola", "--data", ".", "--columns", "text=a"], "columns and layout are for data of your"),
        (["cola", "--data", ".", "--lm-coef", "-1"], "lm_coef is -1.0 but must be at least 0"),
        (["cola", "--data", ".", "--sedes", "3"], "did you mean --seeds"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", "task", *words, "--out", "run"]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err
    assert not (tmp_path / "run").exists()


def test_a_language_model_cannot_be_evaluated_on_a_task(
    tiny_model: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "task", "--model", str(tiny_model), "--data", str(reviews)]) == 2
    assert "without the head of a task" in capsys.readouterr().err
