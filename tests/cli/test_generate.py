"""`gpt1 generate`, run as a user runs it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

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


@pytest.mark.parametrize("words", [["-"], ["--file", "-"]])
def test_a_dash_reads_prompts_from_standard_input(
    folder: str,
    lm: LanguageModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"the quick\n\nbrown fox\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    shown = output(capsys, *words, "--model", folder)
    assert shown == "".join(text + "\n" for text in lm.generate(["the quick", "brown fox"]))


def test_prompts_can_be_a_field_of_json_objects(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text('{"q": "the\\nfox", "id": "a1"}\n{"q": "the dog"}\n', encoding="utf-8")
    words = ["--file", str(path), "--prompt-field", "q", "--no-prompt", "--model", folder]
    texts = [c.text for (c,) in lm.complete(["the\nfox", "the dog"])]
    assert output(capsys, *words) == "".join(text + "\n" for text in texts)
    first, second = map(json.loads, output(capsys, *words, "--json").splitlines())
    assert first["id"] == "a1"
    assert "id" not in second


def test_equal_prompts_with_a_seed_have_equal_continuations(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("the fox\n" * 3, encoding="utf-8")
    shown = output(capsys, "--file", str(path), "--model", folder, *SAMPLED).splitlines()
    assert len(shown) == 3
    assert len(set(shown)) == 1


@pytest.mark.parametrize("flag", ["--prompt-lookup-num-tokens=5", "--assistant-model"])
def test_guesses_change_nothing_that_is_printed(
    folder: str, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    words = ["the fox the fox", "--model", folder, *SAMPLED]
    guessing = flag if "=" in flag else f"{flag}={folder}"
    assert output(capsys, *words, guessing) == output(capsys, *words)
    assert output(capsys, *words, guessing, "--json") == output(capsys, *words, "--json")


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


def test_json_has_the_log_probability_of_every_token_where_asked_for(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["the fox", "--json", "--logprobs", "2", "--max-new-tokens", "4", "--model", folder]
    [shown] = json.loads(output(capsys, *words))["completions"]
    [[expected]] = lm.complete(["the fox"], logprobs=2, max_new_tokens=4)
    assert expected.logprobs is not None
    assert [token["id"] for token in shown["logprobs"]] == expected.ids
    assert [token["log_prob"] for token in shown["logprobs"]] == [
        token.log_prob for token in expected.logprobs
    ]
    assert shown["logprobs"][0]["top"] == [other._asdict() for other in expected.logprobs[0].top]
    assert len(shown["logprobs"][0]["top"]) == 2


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


def test_unwanted_words_and_biased_ids_reach_the_model(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_ = lm.complete(["the fox"])[0][0].ids
    expected = lm.generate("the fox", logit_bias={first: -100.0, 7: 2.5}, bad_words=["ox", "dog"])
    assert expected != lm.generate("the fox")
    words = ["the fox", "--model", folder, "--bad-words", "ox", "--bad-words", "dog"]
    assert output(capsys, *words, "--logit-bias", f"{first}=-100", "--logit-bias", "7=2.5") == (
        expected + "\n"
    )
    both = json.dumps({str(first): -100, "7": 2.5})
    assert output(capsys, *words, "--logit-bias", both) == expected + "\n"


def test_a_settings_file_may_hold_every_kind_of_setting(
    folder: str, lm: LanguageModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "stop: [q, ox]\nlogit_bias: {7: 2.5}\nbad_words_ids: [[5, 6]]\nnum_beams: 2\n"
        "early_stopping: never\n",
        encoding="utf-8",
    )
    expected = lm.generate(
        "the fox",
        stop=["q", "ox"],
        logit_bias={7: 2.5},
        bad_words_ids=[[5, 6]],
        num_beams=2,
        early_stopping="never",
    )
    assert output(capsys, "the fox", "--model", folder, "--config", str(path)) == expected + "\n"


@pytest.mark.parametrize("value", ["abc", "5", "x=1", "5=y", "{5: 1", '["5"]', '{"5": "y"}'])
def test_a_bias_that_is_none_is_a_mistake(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = error(capsys, "x", "--logit-bias", value)
    assert f"logit_bias is {value!r} but must be ID=BIAS, such as 5=-2.5, or a JSON" in message


@pytest.mark.parametrize("words", [[], ["a prompt", "--file", "prompts.txt"]])
def test_a_prompt_or_a_file_is_needed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "give either a prompt or --file" in error(capsys, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--resume"], "--resume needs --out, the file to continue"),
        (["x", "--window", "0"], "window is 0 but must be at least 1"),
        (["x", "--logprobs", "2"], "--logprobs is shown in JSON only; add --json or --out"),
        (["x", "--prompt-field", "q"], "--prompt-field is of the lines of --file"),
        (["--interactive", "--json", "--no-prompt"], "--no-prompt and --json cannot be used with"),
        (["--interactive"], "--interactive needs a terminal"),
    ],
)
def test_flags_that_do_not_go_together_are_a_mistake(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error(capsys, *words)


def test_a_file_without_prompts_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    assert "blank.txt holds no prompt" in error(capsys, "--file", str(tmp_path / "blank.txt"))


def test_a_setting_out_of_range_is_a_mistake(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "top_p is 3.0 but must be" in error(capsys, "x", "--top-p", "3", "--model", folder)


def start(
    folder: str, *words: str, stdout: int | BinaryIO = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gpt1", "generate", *words, "--model", folder]
    return subprocess.Popen(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


ENDLESS = ["the fox", "--max-new-tokens", "100000000"]


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


def test_head_ends_a_pipeline_quietly(folder: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("the fox\n" * 20_000, encoding="utf-8")
    process = start(folder, "--file", str(path), "--json", "--window", "4")
    assert process.stdout is not None
    assert process.stderr is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert [line["prompt"] for line in lines] == ["the fox"] * 2
    assert (process.wait(timeout=60), message) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_clear_error(folder: str) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(folder, "the fox", "--json", stdout=full)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message.startswith(b"gpt1: No space left on device")
    assert message.count(b"\n") == 1
