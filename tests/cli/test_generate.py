"""`gpt1 generate`, run as a user runs it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt1.cli.main import main
from gpt1.language_model import LanguageModel, load
from lively import lively_model, small_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    tokenizer = small_tokenizer()
    folder = tmp_path_factory.mktemp("models") / "lively"
    LanguageModel(lively_model(tokenizer.vocab_size), tokenizer).save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def lm(folder: str) -> LanguageModel:
    return load(folder)


SAMPLED = ["--temperature", "1", "--seed", "5"]
AS_KEYWORDS: dict[str, Any] = {"temperature": 1.0, "seed": 5}


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["generate", *words]) == 0
    return capsys.readouterr().out


def error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["generate", *words]) == 2
    return capsys.readouterr().err


def test_a_prompt_is_continued(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output(capsys, "The fox:", "--model", folder) == lm.generate("The fox:") + "\n"


def test_every_setting_reaches_the_model(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--max-new-tokens 30 --temperature 1.5 --top-k 60 --top-p 0.9 --seed 3"
    stops = ["--stop", "q", "--stop", "ox", "--stop-ids", "[5, 6]"]
    expected = lm.generate(
        "the fox",
        max_new_tokens=30,
        temperature=1.5,
        top_k=60,
        top_p=0.9,
        seed=3,
        stop=["q", "ox"],
        stop_ids=[5, 6],
    )
    shown = output(capsys, "the fox", "--model", folder, *stops, *words.split())
    assert shown == expected + "\n"


def test_several_continuations_are_printed_one_after_the_other(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = lm.generate("the fox", n=3, **AS_KEYWORDS)
    shown = output(capsys, "the fox", "--n", "3", "--model", folder, *SAMPLED)
    assert shown == "".join(text + "\n" for text in texts)


@pytest.mark.parametrize("n", [1, 2])
def test_no_prompt_prints_the_continuations_alone(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], n: int
) -> None:
    (group,) = lm.complete(["the fox"], n=n, **AS_KEYWORDS)
    shown = output(capsys, "the fox", "--no-prompt", "--n", str(n), "--model", folder, *SAMPLED)
    assert shown == "".join(completion.text + "\n" for completion in group)


def test_a_file_has_a_prompt_a_line(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("the fox\n\n  \nthe lazy dog's nose\n" + "dog\n" * 70, encoding="utf-8")
    prompts = ["the fox", "the lazy dog's nose"] + ["dog"] * 70
    shown = output(capsys, "--file", str(path), "--model", folder, "--max-new-tokens", "3")
    assert shown == "".join(text + "\n" for text in lm.generate(prompts, max_new_tokens=3))


def test_a_dash_reads_the_prompt_from_standard_input(
    folder: str,
    lm: LanguageModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the quick\nbrown fox\n"))
    assert output(capsys, "-", "--model", folder) == lm.generate("the quick\nbrown fox") + "\n"


def test_a_file_named_dash_reads_prompts_from_standard_input(
    folder: str,
    lm: LanguageModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("the quick\nbrown fox\n"))
    shown = output(capsys, "--file", "-", "--model", folder)
    assert shown == "".join(text + "\n" for text in lm.generate(["the quick", "brown fox"]))


def test_json_is_one_object_a_prompt(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("the fox\nthe dog\n", encoding="utf-8")
    shown = output(capsys, "--file", str(path), "--n", "2", "--json", "--model", folder, *SAMPLED)
    records = [json.loads(line) for line in shown.splitlines()]
    groups = lm.complete(["the fox", "the dog"], n=2, **AS_KEYWORDS)
    assert records == [
        {
            "prompt": group[0].prompt,
            "prompt_ids": group[0].prompt_ids,
            "completions": [
                {"text": c.text, "ids": c.ids, "finish_reason": c.finish_reason} for c in group
            ],
        }
        for group in groups
    ]


def test_json_and_explain_list_every_token(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(output(capsys, "the fox", "--json", "--explain", "--model", folder))
    (completion,) = record["completions"]
    expected = lm.explain(record["prompt_ids"] + completion["ids"])
    assert [token["id"] for token in completion["tokens"]] == [token.id for token in expected]
    last = completion["tokens"][-1]
    assert last["probability"] == expected[-1].probability
    assert last["alternatives"][0] == expected[-1].alternatives[0]._asdict()


def test_explain_prints_a_line_a_token_below_the_text(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output(capsys, "the fox", "--explain", "--max-new-tokens", "4", "--model", folder)
    text = lm.generate("the fox", max_new_tokens=4)
    assert shown.startswith(text + "\n")
    ids = lm.complete(["the fox"], max_new_tokens=4)[0][0].ids
    tokens = lm.explain(lm.tokenizer.encode("the fox") + ids)
    lines = [line for line in shown.splitlines() if line.startswith("│")]
    for token, line in list(zip(tokens, lines, strict=True))[1:]:
        assert line.startswith(f"│ {token.id} ")
        assert token.piece in line
        assert f"{token.probability:.2%}" in line
        assert f"{token.alternatives[0].piece} {token.alternatives[0].probability:.1%}" in line


def test_a_stop_may_be_written_as_backslash_n(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = small_tokenizer()
    lm = LanguageModel(lively_model(tokenizer.vocab_size), tokenizer)
    lm.save(tmp_path / "model")
    file = tmp_path / "model" / "tokenizer.json"
    with_newlines = file.read_text(encoding="utf-8").replace('"q</w>"', '"\\n</w>"')
    file.write_text(with_newlines, encoding="utf-8")
    free = load(tmp_path / "model").generate("the fox", max_new_tokens=200, **AS_KEYWORDS)
    assert free.count("\n") > 0
    words = ["--max-new-tokens", "200", "--stop", "\\n", "--model", str(tmp_path / "model")]
    assert output(capsys, "the fox", *words, *SAMPLED) == free.split("\n")[0] + "\n"


@pytest.mark.parametrize("words", [[], ["a prompt", "--file", "prompts.txt"]])
def test_a_prompt_or_a_file_is_needed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "give either a prompt or --file" in error(capsys, *words)


def test_a_file_that_cannot_be_read_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name in ("latin.txt", "nowhere.txt"):
        message = error(capsys, "--file", str(tmp_path / name))
        assert f"{name} is not a readable UTF-8 text file" in message


def test_a_file_without_prompts_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    assert "blank.txt holds no prompt" in error(capsys, "--file", str(tmp_path / "blank.txt"))


def test_a_setting_out_of_range_is_a_mistake(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "top_p is 3.0 but must be" in error(capsys, "x", "--top-p", "3", "--model", folder)


def start(folder: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gpt1", "generate", "the fox", "--model", folder, *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


ENDLESS = ["--max-new-tokens", "100000000"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
def test_ctrl_c_keeps_what_was_generated(folder: str) -> None:
    process = start(folder, *ENDLESS)
    assert process.stdout is not None
    begin = process.stdout.read(20)
    process.send_signal(signal.SIGINT)
    rest, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert begin.startswith(b"the fox ")
    assert rest.endswith(b"\n")
    assert b"Traceback" not in message


def test_a_reader_that_stops_reading_ends_the_command_quietly(folder: str) -> None:
    process = start(folder, *ENDLESS)
    assert process.stdout is not None
    assert process.stdout.read(7) == b"the fox"
    process.stdout.close()
    assert process.stderr is not None
    message = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), message) == (0, b"")
