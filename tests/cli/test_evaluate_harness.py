"""`gpt1 evaluate harness`: the command of lm-evaluation-harness with our model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from gpt1.cli.evaluate_harness import with_defaults
from gpt1.cli.main import main


def test_help_says_whose_arguments_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "harness", "--help"])
    assert end.value.code == 0
    assert "[ARGUMENTS OF lm_eval ...]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tasks", "piqa"], ["run", "--model", "gpt1", "--device", "cpu"]),
        (["run", "--tasks", "piqa"], ["run", "--model", "gpt1", "--device", "cpu"]),
        (["--model", "hf"], ["run", "--model", "gpt1", "--device", "cpu"]),
    ],
)
def test_defaults_come_before_what_is_given(words: list[str], expected: list[str]) -> None:
    found = with_defaults(words)
    assert found[:5] == expected
    assert found[5:7] == ["--batch_size", "auto"]
    assert found[7:] == [word for word in words if word != "run"]


@pytest.mark.parametrize("words", [["ls", "tasks"], ["validate", "--tasks", "x"]])
def test_other_commands_have_no_defaults(words: list[str]) -> None:
    assert with_defaults(words) == words


@pytest.mark.parametrize("flag", [["-C", "a.yaml"], ["--config", "a.yaml"], ["--config=a.yaml"]])
def test_a_file_of_settings_decides_alone(flag: list[str]) -> None:
    assert with_defaults(flag) == ["run", *flag]
    assert with_defaults(["run", *flag]) == ["run", *flag]


def test_the_words_reach_the_harness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(sys.argv)
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: print(sys.argv))
    assert main(["evaluate", "harness", "--tasks", "piqa"]) == 0
    assert capsys.readouterr().out == f"{['lm_eval', *with_defaults(['--tasks', 'piqa'])]}\n"
    assert sys.argv == before


def test_the_extra_is_named_where_the_harness_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpt1.evaluation import harness

    monkeypatch.setattr(harness, "register", harness.register.__wrapped__)
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    assert main(["evaluate", "harness", "--tasks", "piqa"]) == 2
    assert 'pip install "gpt1[harness]"' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the harness, which reads all its thousands of tasks
def test_a_task_runs_from_the_command_line(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # the harness sets it, and leaves it
    (tmp_path / "rows.jsonl").write_text('{"text": "the old dog saw the shy cat"}\n' * 3)
    task = {
        "task": "last_word",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(tmp_path / "rows.jsonl")},
            "cache_dir": str(tmp_path / "cache"),
        },
        "output_type": "loglikelihood",
        "test_split": "test",
        "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
        "doc_to_target": "{{' '+text.split(' ')[-1]}}",
        "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
    }
    (tmp_path / "last_word.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    words = ["--model_args", f"model={tiny_model},device=cpu", "--include_path", str(tmp_path)]
    out = tmp_path / "results.json"
    words += ["--tasks", "last_word", "--limit", "2", "--output_path", str(out)]
    assert main(["evaluate", "harness", "--model", "gpt1", *words]) == 0
    [written] = tmp_path.glob("results_*.json")
    results = json.loads(written.read_text(encoding="utf-8"))
    assert results["results"]["last_word"]["perplexity,none"] > 1
    assert results["n-samples"]["last_word"]["effective"] == 2
    assert results["config"]["tokenizer_mode"] == "bert"
