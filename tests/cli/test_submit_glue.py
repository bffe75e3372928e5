"""``submit glue`` as a user runs it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from gpt1.cli import submit_glue
from gpt1.cli.main import main
from gpt1.cli.parsing import parse
from gpt1.cli.submit_glue import TASKS
from gpt1.tasks.glue import TEST_SETS
from tasks.glue_world import SMALL_SETS, save_models, write_glue


def test_the_flags_are_those_of_the_tasks() -> None:
    assert tuple(dict.fromkeys(s.task for s in TEST_SETS.values() if s.task)) == TASKS


def test_a_submission_is_written_and_can_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    models = save_models(tmp_path / "runs")
    out = tmp_path / "new" / "glue.zip"
    words = ["--data", str(write_glue(tmp_path / "GLUE")), "--out", str(out), "--json"]
    words += [word for task, folder in models.items() for word in (f"--{task}", str(folder))]
    assert submit_glue.run(parse("submit glue", submit_glue, words), SMALL_SETS) == 0
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert facts.pop("submission") == str(out)
    assert facts == {test_set.file: 3 for test_set in SMALL_SETS.values()}
    assert "predicting QQP.tsv: 3 examples" in shown.err
    assert caplog.messages == ["WNLI.tsv is not predicted: all 'not_entailment'"]
    with zipfile.ZipFile(out) as archive:
        assert archive.read("WNLI.tsv").decode() == "index\tprediction\n0\t0\n1\t0\n2\t0\n"
    check = parse("submit glue", submit_glue, ["--check", str(out)])
    assert submit_glue.run(check, SMALL_SETS) == 0
    assert "STS-B.tsv    3\n" in capsys.readouterr().out


def test_what_is_wrong_with_a_submission_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "glue.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("CoLA.tsv", "index\tprediction\n0\t7\n")
    assert main(["submit", "glue", "--check", str(path)]) == 2
    err = capsys.readouterr().err
    assert f"{path} would not be accepted: CoLA.tsv line 2: the prediction is '7' but" in err
    assert "; SST-2.tsv is missing; it must be at the top of the zip file; " in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--data", "GLUE", "--out", "glue.zip", "--cola", "runs/cola"],
            "gpt1: a submission needs --sst2, --mrpc, --stsb, --qqp, --mnli, --qnli, --rte as well",
        ),
        ([], "gpt1: a submission needs --data, --out, --cola, "),
        (["--check", "missing.zip"], "missing.zip would not be accepted: missing.zip is not a zip"),
    ],
)
def test_what_is_missing_is_named(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["submit", "glue", *words]) == 2
    assert message in capsys.readouterr().err
